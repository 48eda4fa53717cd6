"""Side effects of Python calls: a table of dotted names.

A name covers all names below it: `shutil` covers `shutil.rmtree`. The methods belong to paths, and
their names hardly occur elsewhere.
"""

from collections.abc import Mapping

_NAMES = {
    "files": """
        open io.open codecs.open gzip.open bz2.open lzma.open zipfile tarfile shutil tempfile
        fileinput glob.glob glob.iglob linecache mmap sqlite3.connect dbm.open shelve.open
        os.open os.read os.write os.close os.truncate os.remove os.unlink os.rename os.renames
        os.replace os.link os.symlink os.mkdir os.makedirs os.rmdir os.removedirs os.listdir
        os.scandir os.walk os.fwalk os.stat os.lstat os.chmod os.chown os.utime os.access
        os.path.exists os.path.lexists os.path.isfile os.path.isdir os.path.islink
        os.path.getsize os.path.getmtime os.path.getctime os.path.getatime os.path.samefile
    """,
    "network": """
        socket socketserver ssl.wrap_socket urllib.request urllib3 http.client http.server
        xmlrpc ftplib imaplib poplib smtplib telnetlib requests httpx aiohttp websockets
        asyncio.open_connection asyncio.start_server
    """,
    "output": "print sys.stdout sys.stderr",
    "subprocess": """
        subprocess os.system os.popen os.fork os.execv os.execve os.execvp os.execvpe os.execl
        os.execle os.execlp os.execlpe os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv
        os.spawnve os.spawnvp os.spawnvpe os.posix_spawn os.posix_spawnp os.startfile pty.spawn
        asyncio.create_subprocess_exec asyncio.create_subprocess_shell
    """,
}
EFFECTS: Mapping[str, str] = {
    name: kind for kind, names in _NAMES.items() for name in names.split()
}
_METHODS = """
    write_text write_bytes read_text read_bytes unlink mkdir rmdir touch symlink_to hardlink_to
    iterdir rglob chmod lchmod is_file is_dir
"""
METHODS: Mapping[str, str] = dict.fromkeys(_METHODS.split(), "files")
SETTINGS = ("os.environ.get", "os.getenv")
"Calls that read a setting; `os.environ[name]` counts as the first."
ROOTS = frozenset(name.partition(".")[0] for name in (*EFFECTS, *SETTINGS))
"The first parts of all these names."


def effect_of(dotted: str) -> str:
    """Return the kind of a call's side effect; empty where none is known.

    >>> effect_of("os.path.exists"), effect_of("?path.read_text"), effect_of("os.path.join")
    ('files', 'files', '')
    """
    if dotted.partition(".")[0] in ROOTS:
        parts = dotted.split(".", 3)[:3]
        for length in range(1, len(parts) + 1):
            if effect := EFFECTS.get(".".join(parts[:length])):
                return effect
    _, dot, last = dotted.rpartition(".")
    return METHODS.get(last, "") if dot else ""
