"""An experiment as a Jupyter notebook that runs outside this project: what to look for, and the plain PyTorch script."""

from __future__ import annotations

from demos.core.demo import Demo
from demos.core.parameters import Parameters
from demos.core.text import Language, Text

_HEADINGS = {
    "look": Text("看什么", "What to look for"),
    "predict": Text("先预测", "Predict first"),
    "needs": Text(
        "需要 PyTorch 和 scikit-learn：`pip install torch scikit-learn`。用自己的数据时，把它存成这个笔记本旁边的 `data.csv`。",
        "Needs PyTorch and scikit-learn: `pip install torch scikit-learn`. If it uses a table of your own, save that as `data.csv` beside this notebook.",
    ),
    "scaled": Text("缩小了什么", "What was scaled down"),
}


def build_notebook(demo: Demo, preset: str, parameters: Parameters, language: Language) -> str:
    """The notebook (nbformat 4) as JSON text: an introduction, the script of these parameters in one cell, and what was scaled down."""
    from nbformat import v4, writes

    prediction = demo.predict(parameters)
    options = "\n".join(f"- {text[language]}" for text in prediction.options.values())
    introduction = [
        f"# {demo.title[language]}: {demo.presets[preset].label[language]}",
        f"**{demo.question[language]}**",
        f"## {_HEADINGS['look'][language]}\n\n{demo.what_to_look_for(preset)[language]}",
        f"## {_HEADINGS['predict'][language]}\n\n{prediction.question[language]}\n\n{options}",
        _HEADINGS["needs"][language],
    ]
    cells = [
        v4.new_markdown_cell("\n\n".join(introduction), id="introduction"),
        v4.new_code_cell(demo.code(parameters), id="experiment"),
        v4.new_markdown_cell(f"## {_HEADINGS['scaled'][language]}\n\n{demo.scaled_down[language]}", id="scaled-down"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return str(writes(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})))
