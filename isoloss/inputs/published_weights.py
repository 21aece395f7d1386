"""`isoloss import WEIGHTS.pkl -o FILE.pt`: a published EDM network -> a file that `pretrained(file = …)` names."""

from __future__ import annotations

import sys
from pathlib import Path

from isoloss.errors import fault


def import_weights(source: Path, output: Path, as_json: bool) -> int:
    """Convert, and say what was found and how a study names it. Raises UserError R511, R512, L214."""
    from isoloss.errors import as_user_error
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.generators.published import import_network

    if output.exists():
        raise fault("L214", f"`{output}` is there already", "name a new file: nothing is overwritten")
    try:
        imported = import_network(source, output)
    except JobError as error:
        raise as_user_error(error) from None
    except OSError as error:
        raise fault("L214", f"`{output}` can't be written: {error.strerror}") from None
    network, shape = imported.network, imported.shape
    if as_json:
        import orjson

        data = {"output": str(output), "sha256": imported.sha256, "params": imported.params, "network": network,
                "shape": [shape.height, shape.width, shape.channels], "classes": shape.classes}  # fmt: skip
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
        return 0
    size = f"{shape.height}x{shape.width}x{shape.channels}, {shape.classes} classes"
    print(f"{network['form']}, {imported.params:,} parameters, images {size}: {source} -> {output}")
    print("put it below the data root (ISOLOSS_DATA), and name it in the study:")
    print(f"  denoiser = pretrained({', '.join(_settings(output.name, imported.sha256, network))})")
    return 0


def _settings(name: str, sha256: str, network: object) -> list[str]:
    """What differs from the vocabulary's defaults is written out: the study must agree with the file."""
    from isoloss.dsl.vocabulary import find_term

    assert isinstance(network, dict)
    term = find_term("denoiser", "pretrained")
    assert term is not None
    written = [f'file = "{name}"', f'sha256 = "{sha256}"']
    for slot in term.slots:
        if slot.name in network and slot.name != "dropout":
            value = network[slot.name]
            text = "none" if value is None else str(value)
            if text != slot.default:
                written.append(f"{slot.name} = {text}")
    return written
