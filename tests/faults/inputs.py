"""The files that pliant reads and the commands that read them, each with something wrong that a seed decides."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spoil import DEEP, NASTY, NASTY_YAML, replaced, spoiled_bytes, spoiled_columns, spoiled_form, spoiled_table


def prepare(folder: Path) -> None:
    """Whole inputs of every kind, from which each case spoils a copy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pliant import laws
    from pliant.data import load_tokenizer
    from pliant.models import build, save
    from synthetic_ledger import synthetic_ledger

    chance = random.Random(0)
    words = ["the", "model", "learns", "a", "little", "more", "each", "day"]
    texts = [{"text": " ".join(chance.choices(words, k=20))} for _ in range(50)]
    (folder / "text.jsonl").write_text("\n".join(map(json.dumps, texts)))
    (folder / "text.json").write_text(json.dumps(texts))
    (folder / "text.txt").write_text("\n".join(one["text"] for one in texts))
    pq.write_table(pa.Table.from_pylist(texts), folder / "text.parquet")
    save(build("llama-16x1", load_tokenizer("ascii"), 0, context=32), folder / "model")
    synthetic_ledger(folder / "ledger", seeds=[0], samples=8, tokens=[500_000, 1_000_000, 2_000_000], failed={500_000: "it diverged"})
    runs = [(n, 20 * n * ratio) for n in (1e6, 4e6, 16e6) for ratio in (1, 2, 4)]
    rows = [{"N": n, "D": tokens, "loss": 1.8 + 400 / n**0.34 + 410 / tokens**0.28} for n, tokens in runs]
    pq.write_table(pa.Table.from_pylist(rows), folder / "runs.parquet")
    (folder / "runs.json").write_text(json.dumps(rows))
    laws.fit("chinchilla", rows, {}, bootstrap="8", restarts=3).save(folder / "fit.json")
    (folder / "study.json").write_text(json.dumps(STUDY))


STUDY: dict[str, Any] = {
    "name": "small",
    "checkpoints": {"folders": ["model"], "tokens": {"model": "1M"}, "batch_tokens": "1k"},
    "changes": [
        {"quantize": {"bits": [3, 4], "group": 8, "tensors": "linear"}},
        {"perturb": {"scale": [0.1], "draws": 2}},
        [{"finetune": {"data": "text.jsonl", "steps": 2, "batch": 2, "length": 16, "lr": 1e-3}}, {"quantize": {"bits": 4}}],
    ],
    "measures": {"generic": {"loss": {"data": "text.jsonl", "samples": 4, "window": 16}}},
    "seeds": [0],
    "questions": ["checkpoint"],
}
NEW = {"preset": "llama-16x1", "tokenizer": "ascii", "context": 32}
LADDER = {"ladder": {"model": NEW, "corpus": "text.jsonl", "tokens": ["4k"], "lr": 0.01}}
SHORT = {"checkpoints": ["model"], "measures": {"generic": {"loss": {"data": "text.jsonl", "samples": 4}}}}
DRY = ("run", "study.yaml", "--ledger", "new", "--dry-run")
FIT = ("fit", "chinchilla", "runs.csv", "--columns", "N=N,D=D,loss=loss", "--bootstrap", "0", "--starts", "2")


def study(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A study file with something wrong in it."""
    form = STUDY | (chance.choice([{}, {"checkpoints": LADDER}, {"checkpoints": {"hub": "a/b", "revisions": "step*"}}, SHORT]))
    path = Path("study.yaml")
    how = chance.random()
    if how < 0.75:
        path.write_text(spoiled_form(form, chance, yaml=True))
    elif how < 0.9:
        path.write_bytes(spoiled_bytes(json.dumps(form, indent=1).encode(), chance))
    else:
        return replaced(path, chance), DRY
    return "", (*DRY, *chance.choice([(), ("--json",)]))


def ledger(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A ledger with a damaged, replaced or foreign file."""
    import pyarrow.parquet as pq

    files = sorted(path for path in Path("ledger").rglob("*") if path.is_file())
    path = chance.choice(files)
    how = chance.random()
    if path.suffix == ".json" and how < 0.6:
        path.write_text(spoiled_form(json.loads(path.read_text()), chance, yaml=False))
    elif path.suffix == ".parquet" and how < 0.6:
        pq.write_table(spoiled_columns(pq.ParquetFile(path).read(), chance), path)
    elif how < 0.8:
        path.write_bytes(spoiled_bytes(path.read_bytes(), chance))
    elif how < 0.9:
        replaced(path, chance)
    else:
        path.with_name(chance.choice(["x\u2028.parquet", "merged-x.parquet", "x'; drop.parquet", "é\udcff.json", "x.json"])).write_bytes(
            b"{}"
        )
    Path("study.yaml").write_text(json.dumps(SHORT))
    readers = [
        ("show", "ledger"),
        ("show", "ledger", "--json"),
        ("show", "ledger", "--sql", "select * from samples"),
        ("show", "ledger", "--json", "--sql", "select * from rises"),
        ("decide", "checkpoint", "--ledger", "ledger"),
        ("decide", "bits", "--ledger", "ledger", "--json"),
        ("report", "ledger", "--text"),
        ("run", "study.yaml", "--ledger", "ledger", "--dry-run"),
        ("fit", "chinchilla", "ledger", "--columns", "N=params,D=tokens,loss=value", "--bootstrap", "0", "--starts", "2"),
    ]
    return str(path), chance.choice(readers)


def table(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A table of runs."""
    import pyarrow.parquet as pq

    rows = json.loads(Path("runs.json").read_text())
    kind = chance.choice(["csv", "csv", "jsonl", "parquet", "csv.gz"])
    path = Path(f"runs.{kind}")
    if kind == "parquet":
        pq.write_table(spoiled_columns(pq.read_table("runs.parquet"), chance), path)
    elif kind == "jsonl":
        row = chance.randrange(len(rows))
        lines = [json.dumps(one) for one in rows]
        lines[row] = spoiled_form(rows[row], chance, yaml=False).replace("\n", "")
        path.write_text("\n".join(lines))
    else:
        path.write_text(spoiled_table(rows, chance))
    how = chance.random()
    if how < 0.15:
        path.write_bytes(spoiled_bytes(path.read_bytes(), chance))
    elif how < 0.25:
        replaced(path, chance)
    return kind, (*FIT[:2], str(path), *FIT[3:])


def saved_fit(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A saved fit."""
    path = Path("fit.json")
    how = chance.random()
    if how < 0.75:
        path.write_text(spoiled_form(json.loads(path.read_text()), chance, yaml=False))
    elif how < 0.9:
        path.write_bytes(spoiled_bytes(path.read_bytes(), chance))
    else:
        replaced(path, chance)
    questions = [
        ("tokens", "--at", "N=10M"),
        ("size", "--compute", "1e19"),
        ("data", "--unique", "1M", "--compute", "1e18"),
        ("bits", "--compute", "1e18"),
    ]
    question, *given = chance.choice(questions)
    return "", ("decide", question, "--fit", "fit.json", *given)


def text(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A corpus."""
    import pyarrow.parquet as pq

    path = Path(chance.choice(["text.jsonl", "text.json", "text.txt", "text.parquet"]))
    how = chance.random()
    if path.suffix == ".parquet" and how < 0.5:
        pq.write_table(spoiled_columns(pq.read_table(path), chance), path)
    elif path.suffix == ".jsonl" and how < 0.5:
        lines = path.read_text().splitlines()
        lines[chance.randrange(len(lines))] = spoiled_form(json.loads(lines[0]), chance, yaml=False).replace("\n", " ")
        path.write_text("\n".join(lines))
    elif how < 0.85:
        path.write_bytes(spoiled_bytes(path.read_bytes(), chance))
    else:
        replaced(path, chance)
    if chance.random() < 0.2 and path.is_file():
        path = path.rename(path.with_suffix(path.suffix + chance.choice([".gz", ".xz", ".zst"])))
    corpus = {"source": str(path)} | chance.choice(
        [{}, {}, {"field": chance.choice(["text", "", "{", "{text}", "{0}", "{text.x}", "\u2028"])}]
    )
    Path("study.yaml").write_text(json.dumps(SHORT | {"measures": {"generic": {"loss": {"data": corpus, "samples": 4}}}}))
    return str(path), DRY


def model(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A folder of weights."""
    path = chance.choice(sorted(Path("model").iterdir()))
    how = chance.random()
    if path.suffix == ".json" and how < 0.75:
        path.write_text(spoiled_form(json.loads(path.read_text()), chance, yaml=False))
    elif path.suffix == ".safetensors" and how < 0.6:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = spoiled_form(json.loads(content[8 : 8 + length]), chance, yaml=False).encode(errors="surrogatepass")
        stated = chance.choice([len(header), len(header), len(header), 2**63, 0, len(header) - 1, DEEP])
        path.write_bytes(stated.to_bytes(8, "little") + header + content[8 + length :])
    elif how < 0.85:
        path.write_bytes(spoiled_bytes(path.read_bytes(), chance))
    else:
        replaced(path, chance)
    Path("study.yaml").write_text(json.dumps(SHORT))
    uses = [("measure", "loss", "--model", "model", "--data", "text.jsonl", "--samples", "4"), DRY]
    return str(path), chance.choice(uses)


def words(chance: random.Random) -> tuple[str, Sequence[str]]:
    """A value on the command line."""
    Path("study.yaml").write_text(json.dumps(SHORT))
    rows = json.loads(Path("runs.json").read_text())
    Path("runs.csv").write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    commands = [
        (*DRY, "--workers", "0", "--device", "cpu", "--dtype", "float32"),
        ("show", "ledger", "--sql", "select 1"),
        ("report", "ledger", "--text"),
        (*FIT, "--where", "N > 1", "--loss", "squares", "--residual", "log", "--seed", "0", "--fix", "alpha=0.3", "--bounds", "beta=0:1"),
        (
            *FIT,
            "--tie",
            "beta=alpha",
            "--prior",
            "alpha=0.3:0.1",
            "--by",
            "E=N",
            "--clusters",
            "N",
            "--unit",
            "bits",
            "--compare",
            "chinchilla",
        ),
        ("decide", "checkpoint", "--ledger", "ledger"),
        ("decide", "tokens", "--fit", "fit.json", "--at", "N=10M", "--most", "1T", "--afford", "1e20"),
        ("decide", "size", "--fit", "fit.json", "--compute", "1e19", "--served", "1B"),
        ("decide", "bits", "--model", "nowhere", "--data", "text.jsonl", "--quantize", "{group: 8}", "--samples", "4", "--floor", "0.1"),
        ("measure", "loss", "--model", "nowhere", "--data", "text.jsonl", "--samples", "4", "--change", "none", "--seed", "0"),
        ("change", "quantize", "--model", "nowhere", "--bits", "4", "--group", "8", "-o", "out"),
        ("change", "perturb", "--model", "nowhere", "--scale", "0.1", "--seed", "0", "-o", "out"),
        ("change", "finetune", "--model", "nowhere", "--data", "text.jsonl", "--lr", "1e-3", "--steps", "2", "-o", "out"),
        ("quantize", "--model", "nowhere", "--bits", "4", "--method", "gptq", "--calibration", "text.jsonl", "-o", "out"),
        ("findings", "linear_network", "--list"),
    ]
    command = list(chance.choice(commands))
    place = chance.randrange(1, len(command))
    values = [value.strip('"') if chance.random() < 0.5 else value for value in NASTY + NASTY_YAML if len(value) < 120_000]
    value = chance.choice([*values, "\udcff", "a\0b", "x=" * 50, "=", "N=nan", "alpha=inf", "1e999", "nan", "-", "--", "-1", "\n"])
    command[place] = chance.choice([value, value, f"{command[place]}{value}"])
    return "", command


KINDS: list[Callable[[random.Random], tuple[str, Sequence[str]]]] = [study, study, ledger, table, saved_fit, text, model, words]
