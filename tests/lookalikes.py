"""Texts and fields that look like secrets and are none: all of them stay in a redacted export."""

from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "fixtures" / "lookalikes.txt"
TEXTS = [line.replace("\\n", "\n") for line in FILE.read_text().splitlines()]
FIELDS: dict[str, Any] = {
    "token": "if",
    "tokens": [1, 15339, 29871],
    "token_count": 7,
    "max_tokens": 4096,
    "author": "ann1980",
    "primary_key": "a1b2c3d4e5f6",
    "public_key": "AAAAB3NzaC1yc2E1",
    "sessionId": "43434343-1111-4343-8343-434343434343",
    "session_id": "ses_6f2a91c0d3e84b57",
    "sha": "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "password": None,
    "api_key": "${API_KEY}",
    "secret": "",
    "x-api-key": "$KEY",
    "Authorization": "Bearer <token>",
    "cookie_policy": "lax12345",
    "pass": 12,
    "password_length": 12,
    "passwords_match": True,
    "key": "user:123",
    "keys": ["a1b2c3d4"],
    "required": ["api_key", "password"],
    "schema": {"password": {"type": "string", "minLength": 8, "pattern": "^[a-z0-9]{8,}$"}},
    "argv": ["docker", "run", "-p", "8080:80", "nginx"],
    "args": ["mkdir", "-p", "a1b2c3d4"],
    "test": ["pytest", "-p", "plugin1234"],
    "eos_token": "</s>",
    "auth": "none",
    "tokenizer": "tekken-2024",
    "usage": {"input_tokens": 1234567, "output_tokens": 7654321},
    "cookies": {},
    "monkey": "banana12",
    "secret_name": "db-2024-main",
    "hidden": ["Authorization", "Cookie"],
    "pwd": "/srv/app1",
    "token_type": "bearer",
    "logprobs": [{"token": "a1", "logprob": -0.12345678}],
}
"Fields of a tool's arguments."
