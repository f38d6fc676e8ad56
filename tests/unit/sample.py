"""A tiny world for the tests: three question files, a topic outside, one demo, and a retriever whose every decision can be foretold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Verdict
from demos.core.parameters import Parameters, choice, flag, integer, real
from demos.core.text import Text, same
from tutor.index import Hit
from tutor.question import Language
from tutor.retriever import Decision, Retrieval, detect_language

# Fifty lines; the tests of the parser count on their numbers.
RELU = r"""---
section: "1.12"
question:
  zh: 什么是 ReLU？
  en: What is ReLU?
paraphrases:
  zh: [换法一, 换法二, 换法三, 换法四, 换法五, 换法六, 换法七, 换法八, 换法九, 换法十]
  en: [way one, way two, way three, way four, way five, way six, way seven, way eight, way nine, way ten]
probes:
  zh:
    - 修正线性单元是啥
    - 负数变成零的那个激活函数
    - 整流函数叫什么
    - 最常见的激活函数
  en:
    - which activation zeroes negative inputs
    - rectifier unit
    - the usual hidden activation
    - half of the identity
key_points:
  zh: [负数变成零。, 正数不变。]
  en: [Negatives become zero., Positives stay.]
demo: {id: tiny, preset: small}
related: [dropout-test, dropout]
references:
  - {title: 'Rectified Linear Units', authors: 'V. Nair, G. Hinton', year: 2010, url: 'https://example.org/relu'}
---
# 中文

ReLU 就是 $\max(0, x)$。

## 完整回答

ReLU 的完整回答。

## 易错点

- ReLU 的易错点。

# English

ReLU is $\max(0, x)$.

## Full answer

The full answer about ReLU.

## Common mistakes

- A mistake about ReLU.
"""

# A neighbouring topic; the tests of `outside` count on its line numbers.
DIFFUSION = """name: {zh: 扩散模型, en: diffusion models}
texts:
  zh: [扩散一, 扩散二, 扩散三, 扩散四, 扩散五]
  en:
    - diffusion one
    - diffusion two
    - diffusion three
    - diffusion four
    - diffusion five
"""


def question_text(section: str | None, name: str, related: str = "") -> str:
    """A sound question file about another subject: RELU under another name, and without a demo."""
    text = RELU.replace("ReLU", name).replace("[dropout-test, dropout]", f"[{related}]").replace("demo: {id: tiny, preset: small}\n", "")
    return text.replace('section: "1.12"\n', f'section: "{section}"\n' if section else "")


def write_question(folder: Path, name: str, text: str, topic: str = "activations") -> Path:
    """Writes `folder/<topic>/<name>.md`."""
    path = folder / topic / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_outside(folder: Path, name: str, text: str) -> Path:
    """Writes `folder/outside/<name>.yaml`."""
    path = folder / "outside" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_knowledge(folder: Path) -> Path:
    """Three sound questions, in order of section: dropout (1.10), dropout-test (1.11), relu (1.12, with the demo); diffusion outside."""
    write_question(folder, "relu", RELU)
    write_question(folder, "dropout", question_text("1.10", "Dropout", "relu"), "regularization")
    write_question(folder, "dropout-test", question_text("1.111", "Dropout at test time"), "regularization")
    write_outside(folder, "diffusion-models", DIFFUSION)
    return folder


KEYWORDS = {"dropout": ["dropout"], "dropout-test": ["dropout", "test|测试"], "relu": ["relu"]}
OUTSIDE_KEYWORDS = {"diffusion-models": "diffusion|扩散"}
STRANGE = re.compile("bread|面包|diffusion|扩散")  # a query with one of these is not about its context


class KeywordRetriever:
    """Finds the questions whose keywords stand in the query or its context, and keeps the queries.

    The score is the share of a question's keywords that the query holds; of equal scores the question with more keywords comes first.
    All keywords: ANSWER, sure if those of no other question stand there too; some: SUGGEST; none: ABSTAIN, outside by its own keyword.
    """

    def __init__(self) -> None:
        self.queries: list[str] = []

    def retrieve(self, query: str, language: Language | None = None, top_k: int = 5, context: str = "") -> Retrieval:
        text = query if STRANGE.search(query) else f"{context} {query}".strip()
        self.queries.append(text)
        scores = {name: mean(bool(re.search(word, text.lower())) for word in words) for name, words in KEYWORDS.items()}
        hits = [Hit(name, scores[name]) for name in sorted(scores, key=lambda name: (-scores[name], -len(KEYWORDS[name])))]
        best = hits[0].score
        decision = Decision.ANSWER if best == 1 else Decision.SUGGEST if best > 0 else Decision.ABSTAIN
        sure = decision is Decision.ANSWER and hits[1].score < 1
        outside = next((name for name, word in OUTSIDE_KEYWORDS.items() if best == 0 and re.search(word, text.lower())), None)
        return Retrieval(query, language or detect_language(query), tuple(hits[:top_k]), best, decision, sure, outside)


@dataclass(frozen=True)
class TinyParameters(Parameters):
    count: int = integer(4, 2, 48, label=Text("个数", "Count"), help=Text("几个", "How many"))
    rate: float = real(0.5, 0.001, 10, log=True, label=Text("学习率", "Rate"), help=Text("多快", "How fast"))
    kind: str = choice(
        "relu",
        {"relu": same("ReLU"), "tanh": same("tanh")},
        label=Text("激活", "Activation"),
        help=Text("哪一种", "Which"),
    )
    noisy: bool = flag(False, label=Text("噪声", "Noise"), help=Text("加不加", "Whether"))


def _run(parameters: TinyParameters, device: object, generator: object) -> Iterator[Snapshot]:
    product = Figure(Text("乘积", "Product"), parameters.count * parameters.rate)
    source = Source("A paper", "A. Author", 2020, "https://example.org/tiny")
    verdict = Verdict("reproduced", product, same("2"), source, Text("说明", "Explanation"))
    yield Snapshot(0.5, Text("算着", "Working"), ())
    yield Snapshot(1.0, Text("算完", "Finished"), (), (product,), Outcome(verdict, "yes"))


TINY = Demo(
    topic="losses",
    title=Text("小实验", "Tiny experiment"),
    question=Text("乘积多大？", "How large is the product?"),
    look_for=Text("看乘积", "The product"),
    scaled_down=Text("全部", "Everything"),
    parameters=TinyParameters,
    presets={
        "small": Preset(Text("小", "Small"), Text("小的", "A small one"), {"count": 4}),
        "large": Preset(Text("大", "Large"), Text("大的", "A large one"), {"count": 40, "kind": "tanh", "noisy": True}),
    },
    predict=lambda parameters: Prediction(Text("会吗？", "Will it?"), {"yes": Text("会", "It will"), "no": Text("不会", "It will not")}),
    run=_run,
    code=lambda parameters: "print(2)",
    about_s=1,
    id="tiny",
)

DEMOS = {"tiny": TINY}
