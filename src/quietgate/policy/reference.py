"""The reference of the policy, written from the schema: `python -m quietgate.policy.reference > docs/policy.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quietgate.policy import schema
from quietgate.policy.build import MAX_NESTING, MAX_RULES
from quietgate.policy.load import MAX_BYTES
from quietgate.policy.readers import MAX_LIST
from quietgate.policy.schema import Setting

HEAD = f"""# The policy

<!-- Written by `python -m quietgate.policy.reference` from src/quietgate/policy/schema.py; do not edit. -->

The policy is TOML: `/etc/quietgate/quietgate.toml`, then `/etc/quietgate/conf.d/*.toml` in the order of their names.
Every key is optional; an empty file is a policy. `quietgate check` names every mistake with its file and line and
what to write instead, `quietgate show --origin` tells for every setting where it was written.

The files belong to root and may not be written by others. They are UTF-8.

## Forms of values

| form | written as | meaning |
|---|---|---|
| duration | `"90s"`, `"10m"`, `"1h30m"`, `"1d"`, `"2w"` | whole numbers with a unit: s, m, h, d, w |
| rate | `"5 per 60s"` | so many in any time that long; where it is allowed, `"off"` |
| address | `"192.0.2.7"`, `"2001:db8::7"` | one address; an IPv4-mapped one is IPv4 |
| | `"192.0.2.0/24"`, `"2001:db8:7::/48"` | a prefix; the bits after its length must be zero |
| | `"vpn.example.net"` | a host name: all its addresses, looked up when the policy is put in force; one that fails keeps its last addresses, with a warning |
| | `"@office"` | the group `office` of `[groups]` |
| | `"anywhere"` | every address; only in `from` and `to` |
| port | `22` | a port from 1 to 65535 |
| | `"8000-8010"` | a range, both ends included |
| interface | `"eth0"`, `"wg*"` | a name of at most 15 characters, or the beginning of names with a final `*`; it need not exist yet |
| size | `"500MB"` | a whole number and kB, MB, GB or TB |

## How files are merged

- A later file's value replaces an earlier one's. `check` warns, and says which counts.
- Lists of addresses ({{append}}) and the groups of `[groups]` are joined: a file in `conf.d` adds to them.
- `[[firewall.rule]]` and `[[alerts.route]]` are appended, in the order of the files. Names of rules are unique in all files.
- All other lists are replaced whole.
- The default of a list counts only where no file sets it: `from = ["192.0.2.0/24"]` replaces `["anywhere"]`.
- An unknown key, and a key written twice in one file, is a mistake.
- A file has at most {MAX_BYTES >> 20} MiB, a list {MAX_LIST:,} elements, a policy {MAX_RULES:,} rules; groups may stand in groups, {MAX_NESTING} deep.
- An address in `deny` that overlaps one in `allow` or `trusted` is a mistake: one of the two is meant, and guessing could lock out.

## `[groups]`

Names for lists of addresses, used as `"@name"` wherever addresses stand. A group may hold other groups, but not itself
and not `"anywhere"`. One that is empty is a mistake where it would leave a rule without addresses, or SSH open to nobody.

```toml
[groups]
office = ["203.0.113.0/24", "2001:db8:7::/48", "vpn.example.net"]
```
"""

GRAMMAR = """## Grammar

What stands in the quotes of a value (ABNF, RFC 5234; TOML is around it):

```abnf
duration   = 1*( 1*9DIGIT unit )
unit       = "s" / "m" / "h" / "d" / "w"
rate       = ( 1*9DIGIT 1*WSP "per" 1*WSP duration ) / "off"
address    = ip / prefix / name / group / "anywhere"
ip         = <IPv4 or IPv6 address, RFC 4291 2.2>
prefix     = ip "/" 1*3DIGIT               ; host bits are zero
name       = label *( "." label ) [ "." ]  ; the last label is not a number
label      = ( ALPHA / DIGIT / "_" ) *62( ALPHA / DIGIT / "-" / "_" )
group      = "@" 1*CHAR                    ; a key of [groups]
port       = number / number "-" number    ; 1 to 65535, a single one also as a TOML number
number     = 1*5DIGIT
interface  = 1*15ifchar / *15ifchar "*"
ifchar     = <printable, without space / : * " \\>
rule-name  = ( lower / DIGIT ) *31( lower / DIGIT / "-" )
lower      = %x61-7A
log-prefix = 1*110( %x20-21 / %x23 / %x25-5B / %x5D-7E )
size       = 1*9DIGIT ( "kB" / "MB" / "GB" / "TB" )
time       = <00:00 to 23:59>
hours      = [ time "-" time ]
secret     = "file:/" *CHAR / "credential:" *CHAR
```
"""


def reference() -> str:
    """The text of docs/policy.md."""
    append = ", ".join(f"`{s.path}`" for s in schema.SETTINGS if s.append)
    parts = [HEAD.replace("{append}", append), "## At the top\n", _table(schema.SETTINGS[:1], "")]
    for section, doc in schema.SECTIONS.items():
        keys = [s for s in schema.SETTINGS if s.path.startswith(f"{section}.")]
        parts += [f"## `[{section}]`\n", f"{doc}\n", _table(keys, f"{section}.")]
        if section == "firewall":
            parts += ["## `[[firewall.rule]]`\n", f"{schema.RULE_DOC}\n", _table(schema.RULE, "")]
        if section == "alerts":
            parts += ["## `[[alerts.route]]`\n", f"{schema.ROUTE_DOC}\n", _table(schema.ROUTE, "")]
    return "\n".join([*parts, GRAMMAR])


def _table(settings: Iterable[Setting], prefix: str) -> str:
    return "\n".join(["| key | default | may be | meaning |", "|---|---|---|---|", *_rows(settings, prefix)]) + "\n"


def _rows(settings: Iterable[Setting], prefix: str) -> Iterator[str]:
    for s in settings:
        words = "".join(f'"{w}" or ' for w in schema.WORDS.get(s.path, ()))
        default = "" if s.default is None else f"`{toml(s.default)}`"
        cells = (f"`{s.path.removeprefix(prefix)}`", default, words + _form(s), s.doc)
        yield f"| {' | '.join(cells)} |"


def _form(setting: Setting) -> str:
    element = setting.read.element
    form = setting.read.form
    return f"{form}: {element.form}" if element is not None and '"' in element.form else form


def toml(value: object) -> str:
    """A default as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(toml(v) for v in value)}]"
    if isinstance(value, int) and value >= 1 << 24:
        return f"{value:#x}"
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    print(reference(), end="")
