"""Result files as other programs write them, made for tests."""

import json
import zipfile
import zlib
from pathlib import Path

TIME = "2026-11-25T17-13-02.084347"


def lm_eval_folder(
    folder: Path, values, name="model-a", *, task="arith", metric="acc", shots=0, prompt="p", filters=("none",), higher=True
):
    """The output of a run: `values` by document number."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for chosen in filters:
        for number, value in values.items():
            lines.append(
                {
                    "doc_id": number,
                    "doc": {"question": f"question {number}"},
                    "target": "1",
                    "arguments": {"gen_args_0": {"arg_0": f"question {number}", "arg_1": " yes"}},
                    "resps": [[["-1.0", "False"]]],
                    "filtered_resps": [["-1.0", "False"]],
                    "filter": chosen,
                    "metrics": [metric],
                    "doc_hash": f"doc{number}",
                    "prompt_hash": f"{prompt}{number}",
                    "target_hash": "t",
                    metric: value,
                }
            )
    (folder / f"samples_{task}_{TIME}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    totals = {
        "results": {task: {"alias": task}},
        "configs": {task: {}},
        "versions": {task: 1.0},
        "n-shot": {task: shots},
        "higher_is_better": {task: {metric: higher}},
        "model_name": name,
    }
    (folder / f"results_{TIME}.json").write_text(json.dumps(totals))
    return folder


def inspect_log(path: Path, samples, model="m/a", *, status="success", zstandard=False, task="sums"):
    """An `.eval` file: `samples` are (id, epoch, value)."""
    told = [
        {"id": item, "epoch": epoch, "input": f"what is {item}?", "target": "1", "scores": {"match": {"value": value}}}
        for item, epoch, value in samples
    ]
    header = {"version": 2, "status": status, "eval": {"task": task, "task_version": 0, "model": model, "task_args": {}}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, form in (("header.json", header), ("summaries.json", told)):
            content = json.dumps(form).encode()
            if zstandard:
                _write_zstandard(archive, name, content)
            else:
                archive.writestr(name, content)
    return path


def _write_zstandard(archive, name, content):
    import pyarrow as pa

    entry = zipfile.ZipInfo(name)
    archive.writestr(entry, pa.compress(content, codec="zstd", asbytes=True))
    entry.compress_type, entry.CRC, entry.file_size = 93, zlib.crc32(content), len(content)
