"""Secrets in 60 forms, the places where they may stand, and texts that only look like secrets.

Each form is a template; `{}` is the secret, whose letters are drawn anew for each test.
"""

from collections.abc import Callable
from random import Random
from string import ascii_letters, ascii_uppercase, digits, hexdigits
from typing import Any

ALNUM = ascii_letters + digits
HEX = hexdigits[:16]


def drawn(random: Random, letters: str, size: int) -> str:
    """A text of so many of these letters."""
    return "".join(random.choice(letters) for _ in range(size))


def value(random: Random) -> str:
    """A secret without a form of its own: letters and digits."""
    return f"q{random.randrange(10)}{drawn(random, ALNUM, 12)}Z{random.randrange(10)}"


def begun(start: str, letters: str, size: int) -> Callable[[Random], str]:
    """The maker of secrets that begin so."""
    return lambda random: start + drawn(random, letters, size)


OWN_FORMS: dict[str, Callable[[Random], str]] = {
    "AKIA": begun("AKIA", ascii_uppercase + "234567", 16),
    "ASIA": begun("ASIA", ascii_uppercase + "234567", 16),
    "ghp": begun("ghp_", ALNUM, 36), "gho": begun("gho_", ALNUM, 36),
    "github_pat": begun("github_pat_", ALNUM, 60), "glpat": begun("glpat-", ALNUM, 20),
    "xoxb": begun("xoxb-1234567890-", ALNUM, 24), "xoxp": begun("xoxp-1234567890-", ALNUM, 24),
    "sk": begun("sk-proj-1", ALNUM, 60), "sk-ant": begun("sk-ant-api03-", ALNUM, 80),
    "hf": begun("hf_", ALNUM, 34), "AIza": begun("AIza", ALNUM, 35),
    "npm": begun("npm_", ALNUM, 36), "pypi": begun("pypi-AgEIcHlwaS5vcmc", ALNUM, 70),
    "SG": lambda random: f"SG.{drawn(random, ALNUM, 22)}.{drawn(random, ALNUM, 43)}",
    "sk_live": begun("sk_live_", ALNUM, 24), "rk_live": begun("rk_live_", ALNUM, 24),
    "dop_v1": begun("dop_v1_", HEX, 64), "shpat": begun("shpat_", HEX, 32),
    "ya29": begun("ya29.a0", ALNUM, 60), "EAAC": begun("EAAC", ALNUM, 120),
    "dckr_pat": begun("dckr_pat_1", ALNUM, 26), "hvs": begun("hvs.CAES", ALNUM, 40),
    "ntn": begun("ntn_1", ALNUM, 45), "glsa": begun("glsa_1", ALNUM, 32),
    "secret_": begun("secret_1a", ALNUM, 41), "1//0": begun("1//0g1", ALNUM, 50),
    "jwt": lambda random: (
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{drawn(random, ALNUM, 30)}.{drawn(random, ALNUM, 43)}"
    ),
}  # fmt: skip

TEXTS = [
    "client-key-data: {}AAAABBBBCCCC", 'psk="{}"', "ssh-pass: {}", "passphrase {}",
    "Das Passwort lautet {}", "root:$6$saltsalt$aB{}AAAABBBB:19000",
    "key = 'sk-ant-' + 'api03-{}AAAABBBB'",
    # names and values
    "API_KEY={}", "export DB_PASSWORD={}", "set SMTP_PASSWORD={}", 'password = "{}"',
    "$env:API_TOKEN = '{}'", "{{'access_token': '{}'}}", '{{"apiKey":"{}"}}',
    '{{"db": {{"clientSecret" : "{}"}}}}', '{{"X-API-KEY": "{}"}}', '{{"passwd":["{}"]}}',
    '{{"credentials": {{"value": "{}"}}}}', '{{"secrets": {{"smtp": "{}"}}}}',
    '{{"name": "API_KEY", "value": "{}"}}', "- name: API_KEY\n  value: {}", "password: {}",
    "client_secret = {}", "refreshToken: '{}'", 'connect(user="ann", password="{}")',
    "passphrase: \"{}\"", "private_key='{}'", "os.environ['API_KEY'] = '{}'",
    'monkeypatch.setenv("API_KEY", "{}")', "ENV API_KEY {}", "spring.datasource.password={}",
    "Server=db;User Id=ann;Password={};", "my password is {}", "the API key is `{}`.",
    "<password>{}</password>", '<add key="ApiKey" value="{}"/>', '<user name="ann" pwd="{}"/>',
    "PASSWORD='{}'\"{}\"", 'password = "{}" + "{}"', "DB_PASSWORD={}\\n", 'token = "{}"',
    "csrfmiddlewaretoken={}", "sessionid = '{}'",
    # headers
    "Authorization: Bearer {}", "authorization: basic {}", "Authorization: Token {}",
    'Authorization: Digest username="ann", realm="x", response="{}"', "Authorization: {}",
    "Proxy-Authorization: Basic {}", '{{"headers": {{"Authorization": "Bearer {}"}}}}',
    "Cookie: sid={}; theme=dark1", "Set-Cookie: session={}; Path=/; HttpOnly", "X-Api-Key: {}",
    "x-auth-token: {}", "PRIVATE-TOKEN: {}", '("Authorization", "Bearer {}")',
    '["X-Api-Key", "{}"]', "curl -H 'Authorization: Bearer {}' https://x.org",
    'curl -H "x-api-key: {}" https://x.org', "headers = {{'Cookie': 'sid={}'}}",
    # URLs
    "https://ann:{}@db.example.org/x", "git clone https://ann:{}@git.example.org/a.git",
    "psql postgresql://ann:{}@db/shop", "https://x.org/?token={}&page=2",
    "https://x.org/cb?a=1&api_key={}", "https://x.org/#access_token={}",
    "https://s3.example.org/f?X-Amz-Signature={}{}", "https://b.example.net/c?sig={}{}%3D",
    "redis://:{}@cache:6379/0", "amqp%3A%2F%2Fann%3A{}%40mq", "?url=x%3Ftoken%3D{}%26a",
    # command lines
    "curl -u ann:{} https://x.org", "curl --user 'ann:{}' https://x.org", "mysql -u root -p{} app",
    "mysqldump --password={} app", "psql --password {}", "PGPASSWORD={} psql",
    "docker login -u ann -p {} registry.example.org", "sshpass -p {} ssh host",
    "sshpass -p'{}' ssh host", "redis-cli -h cache -a {} ping", "mongosh -u ann -p {} shop",
    "tool --api-token {}", "tool --token={} --x", "keytool -storepass {}", "wget --password '{}' x",
    "docker run -e API_KEY={} image", "mysql -u root \\\n  -p{} app",
    'subprocess.run(["sshpass", "-p", "{}", "ssh"])', '["tool", "--password", "{}"]',
    "unzip -P {} a.zip", "ldapsearch -x -w {} -b dc=x",
    # files
    "machine git.example.org login ann password {}",
    "machine git.example.org\n  login ann\n  password {}", "db.example.org:5432:shop:ann:{}",
    "//registry.npmjs.org/:_authToken={}", "_password={}",
    "index-url = https://ann:{}@pypi.example.org/simple", "aws_secret_access_key = {}",
    "[db]\npassword = {}\n", 'api_key = "{}"  # ours', 'requests.get(url, auth=("ann", "{}"))',
    '{{"auth": "ann:{}"}}', "{{'Authorization': '{}'}}", "SECRET_KEY_BASE={}", "db_pw={}",
    "aws configure set aws_secret_access_key {}", "git config set x.token {}",
]  # fmt: skip
"Texts with a secret; where `{}` stands twice, two secrets."

FIELDS: list[dict[str, Any]] = [
    {"password": "{}"},
    {"headers": {"authorization": "Bearer {}"}},
    {"Authorization": "{}"},
    {"proxy-authorization": "Basic {}"},
    {"cookie": "a={}; b={}"},
    {"Set-Cookie": ["sid={}; Path=/"]},
    {"headers": [["Authorization", "Bearer {}"], ["X-Api-Key", "{}"]]},
    {"rawHeaders": ["Host", "x.org", "Authorization", "Bearer {}"]},
    {"X-API-Key": "{}"},
    {"headers": [{"name": "X-Auth-Token", "value": "{}"}]},
    {"OPENAI_API_KEY": "{}"},
    {"argv": ["tool", "--password", "{}"]},
    {"argv": ["sshpass", "-p", "{}", "ssh", "h"]},
    {"argv": ["mysql", "-u", "root", "-p{}"]},
    {"argv": ["docker", "login", "-p", "{}"]},
    {"argv": ["curl", "-u", "ann:{}", "https://x.org"]},
    {"auth": "ann:{}"},
    {"auth": ["ann", "{}"]},
    {"credentials": {"value": "{}"}},
    {"passwords": ["{}", "{}"]},
    {"secrets": {"db": "{}"}},
    {"pass": "{}"},
    {"pwd": "{}"},
    {"db": {"connectionString": "Server=x;Pwd={}"}},
    {"dsn": "postgresql://ann:{}@db/x"},
    {"clientSecret": {"value": "{}"}},
    {"cookies": {"sid": "{}"}},
    {"body": '{"refresh_token":"{}"}'},
    {"env": {"DB_PASSWORD": "{}"}},
    {"private-key": "{}"},
]
"Fields of a tool's arguments with a secret."
