// What changed between two moments: their panels have a key on each row, and are compared by it.
"use strict";
const compareMoments = (() => {
  const KINDS = { module: "Modules", tree: "Summaries and functions", map: "Map", held: "In hand" };
  const MOST = 4e6; // pairs of lines that are compared; of longer texts all lines go and come
  function rowsOf(html) {
    const holder = document.createElement("template"), found = new Map();
    holder.innerHTML = html;
    for (const row of holder.content.querySelectorAll("[data-k]")) {
      const kind = row.dataset.k.split(" ")[0];
      if (!KINDS[kind] || found.has(row.dataset.k)) continue;
      if (kind === "tree" && row.closest(".commit")) continue; // of what one commit changed alone
      const own = row.cloneNode(true), text = own.querySelector("pre")?.textContent ?? null;
      for (const inner of own.querySelectorAll("[data-k], pre")) inner.remove();
      const name = own.querySelector("code");
      if (name && row.dataset.k.endsWith(name.textContent)) name.remove();
      for (const more of own.querySelectorAll(".sub")) more.prepend(" ");
      const parts = [...own.querySelectorAll("summary, p, td")].filter((part) => !part.querySelector("summary, p, td"));
      const words = (parts.length ? parts : [own]).map((part) => part.textContent.trim().replace(/\s+/g, " "));
      found.set(row.dataset.k, { words: words.filter(Boolean).join(" · "), text });
    }
    return found;
  }
  const isChanged = (was, is) => was?.words !== is?.words
    || (was.text !== null && is.text !== null && was.text !== is.text);
  function lineDiff(before, after) { // the longest common lines stay
    let a = before.split("\n"), b = after.split("\n"), start = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
    let end = 0;
    while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
    const number = start + 1;
    [a, b] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
    const went = (line) => ["went", `-${line}`], came = (line) => ["came", `+${line}`];
    const found = [["place", `@@ line ${number} @@`]];
    if (a.length * b.length > MOST) return [...found, ...a.map(went), ...b.map(came)];
    const width = b.length + 1, long = new Uint32Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i -= 1)
      for (let j = b.length - 1; j >= 0; j -= 1)
        long[i * width + j] = a[i] === b[j] ? long[(i + 1) * width + j + 1] + 1
          : Math.max(long[(i + 1) * width + j], long[i * width + j + 1]);
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) { found.push(["", ` ${a[i]}`]); i += 1; j += 1; }
      else if (i < a.length && (j === b.length || long[(i + 1) * width + j] >= long[i * width + j + 1])) {
        found.push(went(a[i])); i += 1;
      } else { found.push(came(b[j])); j += 1; }
    }
    return found;
  }
  function element(name, text = "", kind = "") {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  function rowFor(name, was, is) {
    const [sign, kind] = !was ? ["+ came", "is-in"] : !is ? ["- went", "is-out"] : ["~ changed", ""];
    const row = element("p");
    row.append(element("span", sign, `change ${kind}`), " ", element("code", name));
    if (was && is && was.words !== is.words) {
      row.append(element("span", was.words, "sub is-out"), element("span", is.words, "sub is-in"));
    } else if (!was || !is) row.append(element("span", (is || was).words, "sub"));
    if (was?.text == null || is?.text == null || was.text === is.text) return [row];
    const pre = element("pre", "", "text lines");
    for (const [which, line] of lineDiff(was.text, is.text)) pre.append(element("span", `${line}\n`, which));
    return [row, pre];
  }
  // Takes the panels of two moments, and returns what one sees of their difference.
  return (before, after, title) => {
    const [old, now] = [rowsOf(before), rowsOf(after)], section = element("section");
    section.id = "moments";
    section.append(element("h2", title));
    let count = 0;
    for (const [kind, heading] of Object.entries(KINDS)) {
      const keys = [...new Set([...old.keys(), ...now.keys()])].filter((key) =>
        key.startsWith(`${kind} `) && isChanged(old.get(key), now.get(key)));
      if (!keys.length) continue;
      count += keys.length;
      section.append(element("h3", `${heading}: ${keys.length}`));
      for (const key of keys.sort()) section.append(...rowFor(key.slice(kind.length + 1), old.get(key), now.get(key)));
    }
    const cut = [before, after].map((html) => html.match(/data-cut="([^"]*)"/)?.[1]).find(Boolean);
    if (cut) section.append(element("p", `Of more modules the first ${cut} are compared.`, "note"));
    if (!count) section.append(element("p", "Nothing that the panels show changed between them.", "note"));
    return section;
  };
})();
