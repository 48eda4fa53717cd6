// What moves in the page moves because a key or the mouse said so. All HTML that is put in comes
// from the server, or from the file's own parts, where every text of the log was escaped.
"use strict";
(() => {
  const body = document.body, $ = (id) => document.getElementById(id);
  const live = body.dataset.live === "1", task = body.dataset.task;
  const middle = $("middle"), moment = $("moment"), slider = $("slider"), list = $("steps");
  const first = +body.dataset.first || 1;
  let last = +body.dataset.last, at = +body.dataset.e, shown = "", marked = 0, markedAt = 0, asked = 0;
  let chosen = null;
  const troubles = ["failed", "checks", "refused"];

  // Where panels come from: the server, or the parts that stand in the file.
  let parts = null;
  const expand = (text) => text.replace(/<r (\d+)>/g, (_, number) => expand(textOf(number)));
  function textOf(number) { // new lines of its own, in turn with runs of lines that others have
    const { lines, runs, fresh } = parts, [own, ...rest] = runs[number];
    let place = fresh[number] + own, end = 0;
    const part = (from, to) => lines.slice(from, to).join("");
    let found = part(fresh[number], place);
    for (let n = 0; n < rest.length; n += 3) {
      end += rest[n] + rest[n + 1];
      found += part(end - rest[n + 1], end) + part(place, place + rest[n + 2]);
      place += rest[n + 2];
    }
    return found;
  }
  const ready = live ? Promise.resolve() : read().then((found) => { parts = found; });
  async function read() {
    const letters = atob($("parts").textContent), packed = new Uint8Array(letters.length);
    for (let n = 0; n < letters.length; n += 1) packed[n] = letters.charCodeAt(n);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const held = JSON.parse(await new Response(stream).text());
    let count = 0;
    held.fresh = held.runs.map((run) => { // where the lines of each text begin that are new in it
      const begin = count;
      for (let n = 0; n < run.length; n += 3) count += run[n];
      return begin;
    });
    return held;
  }
  async function panel(kind, query) {
    if (!live) {
      await ready;
      const known = parts[kind] || {}, asked = query.d || query.w || query.e;
      const number = known[asked] ?? known[query.w ? ofStep(known, query.w) : ""];
      return number === undefined ? missing(kind, query) : expand(textOf(number));
    }
    const given = new URLSearchParams({ ...query, task });
    const answer = await fetch(`/${kind}?${given}`);
    return answer.text();
  }
  function ofStep(known, w) { // any event of a step names its prompt, as the slider does
    const [version, ...policy] = w.split(":"), row = rowAt(+version);
    const first = +row.dataset.first, next = row.nextElementSibling;
    const end = next ? +next.dataset.first : Infinity;
    return Object.keys(known).find((key) => {
      const [of, ...name] = key.split(":");
      return name.join(":") === policy.join(":") && first <= +of && +of < end;
    });
  }
  function missing(kind, query) {
    const [before, after] = String(query.d || "").split("..");
    const word = (text) => (/^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\"'\"'")}'`);
    const ends = [before, after].map((version) => word(`${body.dataset.log}@${version}`)).join(" ");
    const store = body.dataset.store ? ` --store ${word(body.dataset.store)}` : "";
    const words = kind === "difference"
      ? `This file does not hold that difference: backcast diff ${ends}${store}`
      : "This file does not hold that.";
    const note = document.createElement("p");
    note.textContent = words;
    return note.outerHTML;
  }

  // Steps.
  const rows = () => [...list.children];
  function rowAt(version) {
    const all = list.children;
    let low = 0, high = all.length - 1;
    while (low < high) {
      const place = (low + high + 1) >> 1;
      if (+all[place].dataset.first <= version) low = place; else high = place - 1;
    }
    return all[low];
  }
  function asOption(row, isOn) { // one tab stop for the list; what is read is more than the sign
    const link = row.firstElementChild, number = row.querySelector(".number").textContent;
    row.setAttribute("role", "none");
    link.setAttribute("role", "option");
    link.setAttribute("aria-label", `${number ? `step ${number}, ` : ""}${link.title.split("\n")[0]}`);
    link.setAttribute("aria-selected", isOn);
    link.tabIndex = isOn ? 0 : -1;
  }
  function choose(row) {
    if (chosen) { chosen.classList.remove("on"); asOption(chosen, false); }
    const had = list.contains(document.activeElement);
    chosen = row;
    row.classList.add("on");
    asOption(row, true);
    if (had) row.firstElementChild.focus({ preventScroll: true });
    const top = row.getBoundingClientRect().top - list.getBoundingClientRect().top + list.scrollTop;
    if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - 40)
      list.scrollTop = top - list.clientHeight / 2;
  }
  const eventOf = (row) => +row.firstElementChild.dataset.e;
  let troubled = [];
  function trouble(way) {
    const here = rowAt(at), first = (row) => +row.dataset.first - +here.dataset.first;
    const row = way > 0 ? troubled.find((one) => first(one) > 0)
      : troubled.findLast((one) => first(one) < 0);
    if (row) go(eventOf(row));
  }
  function countTroubles() {
    troubled = rows().filter((row) => troubles.includes(row.dataset.o));
    placeTroubles();
  }
  function placeTroubles() { // which one it is; a button at its end leads nowhere
    const here = +rowAt(at).dataset.first, place = troubled.findIndex((row) => row === rowAt(at));
    const before = troubled.some((row) => +row.dataset.first < here);
    const behind = troubled.some((row) => +row.dataset.first > here);
    for (const [name, some] of [["trouble-before", before], ["trouble", behind]]) $(name).disabled = !some;
    $("troubles").textContent = !troubled.length ? "no trouble"
      : place < 0 ? `${troubled.length} in all` : `${place + 1} of ${troubled.length}`;
  }
  function nextStep(way) {
    const all = rows(), row = all[all.indexOf(rowAt(at)) + way];
    if (row) go(eventOf(row));
  }

  function moveInList(key) { // as a listbox does; the panels follow
    const every = rows(), here = every.indexOf(rowAt(at));
    const page = Math.max(1, Math.floor(list.clientHeight * every.length / list.scrollHeight) - 1);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: every.length - 1,
      PageDown: here + page, PageUp: here - page }[key];
    if (to === undefined) return false;
    const row = every[Math.max(0, Math.min(every.length - 1, to))];
    choose(row);
    step(eventOf(row));
    return true;
  }

  // The address holds where one is: e an event, d two prompts, i an item, l a line of it.
  const place = () => new URLSearchParams(location.hash.slice(1));
  function address(fields) {
    return "#" + Object.entries(fields).map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join("&");
  }
  function go(version, more = {}, passing = false) {
    const to = address({ e: Math.max(first, Math.min(last, version)), ...more });
    if (to === location.hash) follow();
    else if (passing) { history.replaceState(null, "", to); follow(); } // Back leads past all of it
    else location.hash = to;
  }
  let moving = 0; // keys and the slider that move on and on are one entry of the history
  function step(version) {
    const now = Date.now();
    go(version, {}, now - moving < 1500);
    moving = now;
  }
  const pair = (before, after) => { location.hash = address({ d: `${before}..${after}` }); };

  async function follow() {
    const given = place(), mine = ++asked;
    const difference = given.get("d"), moments = given.get("c"), other = given.get("w"), begun = performance.now();
    const version = difference || moments ? +(difference || moments).split("..")[1]
      : parseInt(other || given.get("e") || at, 10);
    if (!(version >= first && version <= last)) {
      const all = body.dataset.all ? `; a file by --last ${body.dataset.all} keeps all` : "";
      const bound = version < first ? `${first} is the first event here${all}` : `${last} is the last event`;
      if (location.hash.length > 1) $("live").textContent = `not shown: ${bound}`;
      return;
    }
    at = version;
    const sought = given.get("q");
    if (sought) { $("q").value = sought; return search(sought, mine); }
    const row = rowAt(version);
    if (row !== chosen) choose(row);
    placeTroubles();
    slider.value = version;
    $("where").textContent = `event ${version} of ${last}`;
    const wanted = difference ? `d${difference}` : moments ? `c${moments}` : other ? `w${other}|${given.get("t") || ""}`
      : `s${row.dataset.first}`;
    const step = wanted === shown ? null : difference ? panel("difference", { d: difference })
      : moments ? momentsApart(...moments.split(".."))
      : other ? (live ? whatIf(other, given.get("t") || "") : panel("whatif", { w: other }))
      : panel("step", { e: live ? version : row.dataset.first });
    const now = panel("moment", { e: version });
    if (other && live) now.then((html) => { if (mine === asked) moment.innerHTML = html; }, () => {});
    try {
      const [stepHtml, momentHtml] = await Promise.all([step, now]);
      if (mine !== asked) return;
      if (stepHtml !== null) {
        const open = [...middle.querySelectorAll("section > details")]
          .map((d) => [d.className, d.open]);
        middle.innerHTML = stepHtml;
        for (const [name, isOpen] of open) {
          const same = middle.querySelector(`section > details.${name || "none"}`);
          if (same && name !== "out") same.open = isOpen;
        }
        shown = wanted;
        copies();
        if (document.activeElement === body || middle.contains(document.activeElement)) focusHead();
        if (!given.get("i")) scrollTo(0, 0);
      }
      keepFolds(momentHtml);
      for (const event of middle.querySelectorAll(".event"))
        event.classList.toggle("on", +event.dataset.e === version);
      if (given.get("i")) item(given.get("i"), +given.get("l"));
      else for (const other of middle.querySelectorAll(".item.on")) other.classList.remove("on");
      body.dataset.e = version;
      told(row, version);
      body.dataset.took = (performance.now() - begun).toFixed(1);
      if (other) middle.focus();
    } catch (error) {
      if (mine === asked) $("live").textContent = `not shown: ${error.message}`;
    }
  }

  async function momentsApart(before, after) {
    const ends = [before, after].map((version) => panel("moment", { e: Math.max(first, +version) }));
    const [was, is] = await Promise.all(ends);
    return compareMoments(was, is, `Two moments: #${before} and #${after}`).outerHTML;
  }
  const folds = new Map(); // what one opened or closed in the panel of the moment stays so
  moment.addEventListener("click", (click) => {
    const part = click.target.closest("summary")?.parentElement;
    if (part?.dataset.k && !click.target.closest("a")) folds.set(part.dataset.k, !part.open);
  });
  function keepFolds(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    for (const part of holder.content.querySelectorAll("details[data-k]"))
      if (folds.has(part.dataset.k)) part.open = folds.get(part.dataset.k);
    moment.replaceChildren(holder.content);
  }
  function focusHead() { // what had the focus was replaced: the keyboard goes on from the new step
    const head = middle.querySelector("h2");
    if (head) { head.tabIndex = -1; head.focus({ preventScroll: true }); }
  }
  function told(row, version) {
    const number = row.querySelector(".number").textContent;
    const words = `${number ? `step ${number}, ` : ""}${row.querySelector(".name").textContent}`;
    const sign = row.querySelector(".mark").textContent;
    document.title = `${task} · ${words} ${sign}`;
    slider.setAttribute("aria-valuetext", `event ${version}, ${words}`);
  }

  // Items and lines.
  function item(name, line) {
    const found = [...middle.querySelectorAll("[data-i]")].find((one) => one.dataset.i === name);
    if (!found) return;
    for (let outer = found; outer; outer = outer.parentElement)
      if (outer.tagName === "DETAILS") outer.open = true;
    for (const inner of found.querySelectorAll("details")) inner.open = true;
    for (const other of middle.querySelectorAll(".item.on")) other.classList.remove("on");
    found.classList.add("on");
    const spot = line ? lineIn(found, line) : null;
    const to = spot || found, centred = () => to.scrollIntoView({ block: "center" });
    centred(); // blocks that were folded get their heights as they come into sight
    requestAnimationFrame(() => { centred(); requestAnimationFrame(centred); });
  }
  function source(path) {
    for (const module of moment.querySelectorAll(".modules details"))
      if (module.querySelector("code").textContent === path) {
        module.open = true;
        module.scrollIntoView({ block: "start" });
      }
  }
  function lineIn(element, line) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node, number = 1; (node = walker.nextNode());) {
      const lines = node.data.split("\n");
      if (number + lines.length - 1 >= line) {
        const start = lines.slice(0, line - number).join("\n").length + (line > number ? 1 : 0);
        const range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, start + lines[line - number].length);
        const mark = document.createElement("mark");
        range.surroundContents(mark);
        return mark;
      }
      number += lines.length - 1;
    }
    return null;
  }
  function lineOf(element, node, offset) {
    const range = document.createRange();
    range.setStart(element, 0);
    range.setEnd(node, offset);
    return range.toString().split("\n").length;
  }

  // Search; its words stand in the address, so that Back leads to what was found.
  function seek(words) {
    if (!words) return;
    const named = words.match(/^(?:step\s*(\d+)|(?:event\s*|#)(\d+))$/i);
    if (named) {
      const row = rows().find((each) => each.querySelector(".number").textContent === named[1]);
      if (row || named[2]) { $("q").blur(); return go(row ? eventOf(row) : +named[2]); }
    }
    const to = address({ q: words, e: at });
    if (to === location.hash) follow(); else location.hash = to;
  }
  async function search(words, mine) {
    const { found, texts, later, next } = live ? JSON.parse(await panel("search", { q: words, e: at }))
      : await searchHere(words);
    if (mine !== asked) return;
    const section = document.createElement("section");
    const title = document.createElement("h2");
    title.textContent = `${texts} texts hold “${words}” as of event ${at}`;
    section.append(title);
    if (later) {
      const more = document.createElement("p"), link = document.createElement("a");
      link.href = address({ e: next });
      link.dataset.e = next;
      link.textContent = `event ${next}`;
      more.className = "note";
      more.append(`${later} later texts hold it too, the first is of `, link, ".");
      section.append(more);
    }
    for (const one of found) {
      const link = document.createElement("a"), what = document.createElement("b");
      link.className = "found";
      link.href = address({ e: one.version, ...(one.item ? { i: one.item, l: one.line } : {}) });
      what.textContent = `#${one.version} ${one.what}, line ${one.line}: `;
      link.append(what, ...hits(one.words, words));
      section.append(link);
    }
    middle.replaceChildren(section);
    shown = "search";
    middle.focus();
  }
  function hits(text, words) {
    const spot = text.toLowerCase().indexOf(words.toLowerCase()), mark = document.createElement("mark");
    if (spot < 0) return [text];
    mark.textContent = text.slice(spot, spot + words.length);
    return [text.slice(0, spot), mark, text.slice(spot + words.length)];
  }
  const SIGNS = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };
  const plain = (html) => html.replace(/<[^>]*>/g, "").replace(/&(amp|lt|gt|quot|#x27);/g, (_, name) => SIGNS[name]);
  async function searchHere(words) {
    await ready;
    const needle = words.toLowerCase(), found = [];
    let texts = 0, later = 0, next = 0;
    for (const [version, what, item, number] of parts.search) {
      const text = plain(textOf(number)), spot = text.toLowerCase().indexOf(needle);
      if (spot < 0) continue;
      if (version > at) {
        later += 1;
        next = next ? Math.min(next, version) : version;
        continue;
      }
      texts += 1;
      if (found.length < 100) {
        const line = text.slice(0, spot).split("\n").length;
        found.push({ version, what, item, line,
          words: text.slice(Math.max(0, spot - 60), spot + needle.length + 60) });
      }
    }
    return { found, texts, later, next };
  }

  // A run that goes on: new steps come in below, and nothing else moves.
  async function look() {
    if (document.hidden) return;
    try {
      const holder = document.createElement("div");
      holder.innerHTML = await panel("rows", { e: last });
      const fresh = holder.firstElementChild, newest = +(fresh && fresh.dataset.last);
      if (!(newest > last)) return;
      for (const row of [...fresh.children]) {
        const same = rows().find((old) => old.dataset.first === row.dataset.first);
        if (same) {
          same.replaceWith(row);
          if (same === chosen) { chosen = row; row.classList.add("on"); }
        }
        else list.append(row);
        asOption(row, row === chosen);
      }
      countTroubles();
      const more = newest - last;
      last = newest;
      slider.max = last;
      $("where").textContent = `event ${at} of ${last}`;
      $("live").textContent = `${more} new events: u shows them`;
      body.dataset.last = last;
    } catch { $("live").textContent = "the server has ended"; }
  }
  if (live) setInterval(look, 2000);

  // Mouse and keys.
  document.addEventListener("click", (click) => {
    if (click.button || click.metaKey || click.ctrlKey || click.shiftKey) return;
    const link = click.target.closest("a");
    if (link && "skip" in link.dataset) { click.preventDefault(); focusHead(); return; }
    if (link && link.dataset.e) { click.preventDefault(); go(+link.dataset.e); return; }
    if (link && link.dataset.d) { click.preventDefault(); pair(...link.dataset.d.split("..")); return; }
    if (link && link.dataset.item) {
      click.preventDefault(); go(at, { i: link.dataset.item }); return;
    }
    if (link && link.dataset.source) { click.preventDefault(); source(link.dataset.source); return; }
    const held = click.target.closest(".item");
    const caret = held && document.caretRangeFromPoint
      && document.caretRangeFromPoint(click.clientX, click.clientY);
    if (caret && getSelection().isCollapsed) {
      const line = lineOf(held, caret.startContainer, caret.startOffset);
      history.replaceState(null, "", address({ e: at, i: held.dataset.i, l: line }));
      for (const other of middle.querySelectorAll(".item.on")) other.classList.remove("on");
      held.classList.add("on");
    }
  });
  document.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.id === "search") seek($("q").value.trim());
    else if (form.dataset.why) {
      const answer = await panel("why", { e: form.dataset.why, i: form.elements.i.value });
      form.querySelector("output").innerHTML = answer;
    }
    else if (form.dataset.w) {
      const text = form.toml.value.trim() ? form.toml.value : "";
      const to = address({ w: `${form.dataset.w}:${form.policy.value}`, ...(text ? { t: text } : {}) });
      if (to === location.hash) { shown = ""; follow(); } else location.hash = to;
    }
  });

  // What if: a process of the server computes it, which may take a while.
  async function whatIf(which, toml) {
    const told = document.createElement("p"), form = middle.querySelector("form.whatif");
    told.className = "note computing";
    told.textContent = "computing … the page goes on meanwhile";
    for (const other of document.querySelectorAll(".computing")) other.remove();
    const [w, policy] = which.split(/:(.*)/s);
    if (shown[0] !== "w" && shown !== `s${rowAt(+w).dataset.first}`) {  // a link was followed
      const section = document.createElement("section"), title = document.createElement("h2");
      title.textContent = `What if: ${policy || "another policy"}`;
      section.append(title, told);
      middle.replaceChildren(section);
      shown = "";
    } else (form || middle).append(told);
    const answer = await fetch("/whatif",
      { method: "POST", body: new URLSearchParams({ w, policy: policy || "", toml, task }) });
    return answer.text();
  }
  function copies() {
    for (const text of middle.querySelectorAll("pre.pin")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(text.textContent);
          button.textContent = "copied";
        } catch {
          getSelection().selectAllChildren(text);
          button.textContent = "selected: Ctrl+C copies";
        }
      });
      text.before(button);
    }
  }
  const open = (name) => {
    const found = middle.querySelector(`details.${name}`);
    if (found) { found.open = true; found.scrollIntoView({ block: "start" }); }
  };
  const keys = {
    j: () => nextStep(1), k: () => nextStep(-1), n: () => trouble(1), p: () => trouble(-1),
    ArrowRight: () => step(at + 1), ArrowLeft: () => step(at - 1),
    g: () => go(first), G: () => go(last), u: () => { $("live").textContent = ""; go(last); },
    d: () => {
      const link = middle.querySelector("a[data-d]");
      const here = +(link ? link.dataset.d.split("..")[1] : 0);
      if (marked && here && marked !== here)
        pair(Math.min(marked, here), Math.max(marked, here));
      else if (link) pair(...link.dataset.d.split(".."));
    },
    m: () => {
      const row = rowAt(at);
      marked = +row.dataset.p || eventOf(row);
      markedAt = at;
      $("live").textContent = `marked event ${marked}: d compares the prompts, c what was known`;
    },
    c: () => { // what came, went and changed since the marked event, else since before this step
      const other = markedAt && markedAt !== at ? markedAt : Math.max(first, +rowAt(at).dataset.first - 1);
      if (other !== at) location.hash = address({ c: `${Math.min(other, at)}..${Math.max(other, at)}` });
    },
    x: () => {
      const found = middle.querySelector(".whatif");
      if (found) found.scrollIntoView({ block: "center" });
      const field = found && (found.policy || found.querySelector("a"));
      if (field) field.focus();
    },
    w: () => open("out"), i: () => open("in"), t: () => body.classList.toggle("times"),
    "/": () => $("q").focus(), "?": () => $("keys").showModal(),
    Escape: () => { if (shown === "search" || shown[0] === "w" || place().get("d") || place().get("c")) {
      shown = ""; go(at);
    } },
  };
  document.addEventListener("keydown", (key) => {
    if (key.metaKey || key.ctrlKey || key.altKey) return;
    if (key.target.matches("input:not([type=range], [type=checkbox]), select, textarea")) {
      if (key.key === "Escape") { key.target.blur(); }
      return;
    }
    if (list.contains(key.target)) {
      if (key.key === "Enter" || key.key === " ") { key.preventDefault(); focusHead(); return; }
      if (moveInList(key.key)) { key.preventDefault(); return; }
    }
    const act = keys[key.key];
    if (key.key.length === 1 && !$("letters").checked) return;
    if (act && !$("keys").open) { key.preventDefault(); act(); }
  });
  document.querySelector(".strip").addEventListener("click", (click) => {
    const box = click.currentTarget.getBoundingClientRect();
    const share = (click.clientX - box.left) / box.width;
    go(eventOf(rowAt(first + Math.floor((last - first + 1) * share))));
  });
  let waiting = 0;
  slider.addEventListener("input", () => {
    $("where").textContent = `event ${slider.value} of ${last}`;
    clearTimeout(waiting);
    waiting = setTimeout(() => step(+slider.value), 40);
  });
  $("help").addEventListener("click", () => $("keys").showModal());
  $("trouble").addEventListener("click", () => trouble(1));
  $("trouble-before").addEventListener("click", () => trouble(-1));
  addEventListener("hashchange", follow);
  let unfolded = []; // on paper all of the step stands open
  addEventListener("beforeprint", () => {
    unfolded = [...middle.querySelectorAll("details:not([open])")];
    for (const one of unfolded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of unfolded) one.open = false; });

  const SWITCH = "backcast: letters are keys"; // who speaks to a computer may want none of them
  try { $("letters").checked = localStorage.getItem(SWITCH) !== "no"; } catch { /* not allowed */ }
  $("letters").addEventListener("change", () => {
    try { localStorage.setItem(SWITCH, $("letters").checked ? "yes" : "no"); } catch { /* likewise */ }
  });

  list.setAttribute("role", "listbox");
  for (const row of rows()) asOption(row, false);
  shown = middle.querySelector("#step") ? `s${rowAt(at).dataset.first}` : "other";
  choose(rowAt(at));
  countTroubles();
  told(rowAt(at), at);
  if (location.hash.length > 1) follow();
  ready.then(() => { body.dataset.ready = "1"; },
    (error) => { $("live").textContent = `the parts of this file cannot be read: ${error.message}`; });
})();
