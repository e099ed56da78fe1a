"""Every command with its arguments, options and examples, from the Typer application itself."""

import re
from collections.abc import Iterator
from typing import Any

import typer
from pieces import code, definitions


def commands() -> str:
    """Write a section for each command."""
    from flows.cli.app import app

    return "\n".join(_sections(typer.main.get_command(app), "knotwatch"))


def _sections(group: Any, path: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items(), key=lambda item: hasattr(item[1], "commands")):
        if command.hidden:
            continue
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield f"## {full}\n\n{command.help or ''}\n"
            yield from (text.replace("## ", "### ", 1) for text in _sections(command, full))
        else:
            yield _command(full, command)


def _command(full: str, command: Any) -> str:
    # Parsed without its arguments, a command knows its context, in which its parameters describe themselves.
    context = command.make_context(full, [], resilient_parsing=True)
    called = " ".join([full, *(piece.replace("{", "").replace("}", "") for piece in _usage(command, context))])
    made = f"## {full}\n\n{_paragraphs(command.help)}\n\n```sh\n{called}\n```\n"
    for kind in ("argument", "option"):
        described = [p.get_help_record(context) for p in command.params if p.param_type_name == kind and not p.hidden]
        if described:
            made += f"**{kind.capitalize()}s**\n" + definitions(
                (_named(name, kind), _text(said)) for name, said in described
            )
    return made + (_examples(command.epilog) if command.epilog else "")


def _usage(command: Any, context: Any) -> list[str]:
    """Name the arguments as help texts do, in capitals, and the options behind them."""
    pieces: list[str] = [piece.upper() for piece in command.collect_usage_pieces(context)]
    return [*(piece for piece in pieces if piece != "[OPTIONS]"), *(piece for piece in pieces if piece == "[OPTIONS]")]


def _named(name: str, kind: str) -> str:
    """Name a parameter; typer's `<str>` says less than the word that such places have on a command line."""
    plain = {"str": "TEXT", "path": "PATH", "int": "N", "int range": "N", "float range": "N"}
    own = name.partition(" <")[0].upper() if kind == "argument" else name
    return code(re.sub(r"<([\w ]+)>", lambda found: plain.get(found[1], found[1].upper()), own))


def _text(said: str) -> str:
    """Write a help text as Markdown, with what typer adds in brackets in words."""
    text, _, added = said.removesuffix("]").rpartition("  [") if said.endswith("]") else (said, "", "")
    words = ", ".join(filter(None, map(_added, added.split("; "))))
    return text.replace("[", "\\[").replace("<", "&lt;").replace("*", "\\*") + (
        f" *{words[0].upper()}{words[1:]}.*" if words else ""
    )


def _added(fact: str) -> str:
    """Say a default or a range in words.

    >>> [_added(fact) for fact in ("default: 64", "x>=1", "0<=x<=9", "required")]
    ['default 64', '1 or more', '0 to 9', '']
    """
    if bounds := re.fullmatch(r"(?:(.+)<=)?x(?:>=(.+)|<=(.+))", fact):
        low, least, high = bounds.groups()
        return f"{least} or more" if least else f"{low} to {high}"
    # The usage line has the arguments that may be left out in brackets.
    return "" if fact == "required" else fact.replace(": ", " ", 1)


def _paragraphs(text: str | None) -> str:
    """Keep braces and angle brackets of a help text as they are."""
    return "\n\n".join(part.replace("\n", " ") for part in (text or "").split("\n\n")).replace("<", "&lt;")


def _examples(epilog: str) -> str:
    """Write the epilog's examples as code: one a line, after their introducing word."""
    _, _, said = epilog.partition(": ")
    # What stands between two examples ("later:", "then set ...") becomes a remark.
    lines = [re.sub(r"^(?!knotwatch )", "# ", line.strip()) for line in said.split("; ")]
    return f"**{'Examples' if len(lines) > 1 else 'Example'}**\n\n```sh\n" + "\n".join(lines) + "\n```\n"
