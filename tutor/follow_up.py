"""How a message refers to the one before it."""

from __future__ import annotations

import re

from tutor.question import Language

# A message that only makes sense after the one before it opens with a connective …
_OPENS = {
    "zh": re.compile(
        r"^(那|所以|但是|可是|不过|然后|还有|如果|要是|为什么|为啥|怎么|怎样|比如|例如|举个?例子|具体|详细|继续|再|换成|此外|公式|代码)"
    ),
    "en": re.compile(
        r"^(and|but|so|then|ok|okay|what about|how about|what if|why|how so|how come|really|for example|e\.?g|more|tell me more|go on|continue|formula|code)\b",
        re.IGNORECASE,
    ),
}
# … or points back …
_POINTS = {
    "zh": re.compile(r"它|这个|这样|这里|这两|上面|刚才|前面|前者|后者|两者|哪个|哪种|另一个"),
    "en": re.compile(r"\b(it|its|that|this|those|these|they|them|there|which one|which of|instead)\b", re.IGNORECASE),
}
# … or asks for more of the same, without a word of its own.
_MORE = {
    "zh": re.compile(
        r"(那|所以|嗯|好的?)*(为什么|为啥|为何|凭什么|怎么说|然后|继续|还有|原理|证明|推导|公式|代码|例子|直觉"
        r"|(能|可以|请|麻烦)?(再|多|给我?|来|有没有|有|举|看看|写)*(一?个|一?段|点)?(具体|简单|直观|数学)?的?(例子|公式|代码|推导|证明|解释)"
        r"|(能|可以|请|麻烦)?(再|多|展开|详细|具体|通俗|直白|简单|仔细)*(地|得)?(说|讲|解释|展开|介绍)(得|的)?(更|再)?(详细|具体|通俗|直白|简单|明白|清楚|细)?(一?点|一?下|一?些|说|讲)?"
        r"|没(看|听|太)?(懂|明白)|什么意思)(呢|啊|吗|吧|嘛|看看|来)*"
    ),
    "en": re.compile(
        r"((and|but|so|ok|okay|then|please|yes|hm+)\W+)*(why( so| not| is that| though)?|how( so| come| exactly)?|more|go on|continue|and|really"
        r"|(can|could) you (explain|elaborate|say more|expand)( (it|that|this|on (it|that|this)))?( (more|further|again|simply))?"
        r"|(please )?(explain|elaborate)( (it|that|this))?( (more|further|again|simply))?|(tell me|say|show me) more"
        r"|(do you have |is there |give me |show me |got |what's |what is )?(an?|the|some|any)? ?(concrete|simple|quick|short|small)? ?(example|formula|code|math|maths|intuition|derivation|proof|snippet)s?"
        r"|(i (still )?)?(do not|don't|did not|didn't) (get|understand)( (it|that|this))?|for example|what do you mean|in (pytorch|tensorflow|keras|code|formulas))(\W+please)?",
        re.IGNORECASE,
    ),
}

# Only what is asked about changes; what is asked of it is that of the message before: "卷积层呢", "and for CNNs?", "with Adam as well?".
_ELLIPTIC = {
    "zh": re.compile(r"[^，。？！?!]{1,12}呢[？?]?"),
    "en": re.compile(
        r"(?:(?:and|but|also|what about|how about)\s+)?(?:also\s+)?(?:for|with|in|on|under)\s+[\w\s-]{2,24}\?*", re.IGNORECASE
    ),
}
_PREDICATE = re.compile(r"怎么|如何|怎样|为什么|为啥|什么|多少|哪|怎|咋")

# What a message may consist of without naming any subject: "怎么解决", "any downsides in practice?".
_EMPTY_ZH = (
    "那么 那 所以 但是 可是 不过 然后 还有 如果 要是 的话 为什么 为啥 为何 怎么 如何 怎样 咋 什么 啥 多少 多大 哪些 哪个 哪种 哪里 哪儿 几个 "
    "没有 有 不是 是 不能 能 可以 不会 会 不要 要 需要 应该 该 得 一般 通常 具体 各自 分别 都 也 还 就 又 再 更 最 先 后 一样 适合 适用 合适 解决 "
    "避免 处理 办 选 挑 做 实现 使用 用 改 缓解 防止 应对 优化 计算 算 理解 设 取 给 写 判断 发现 看出来 看 知道 缺点 优点 坏处 好处 副作用 代价 局限 "
    "问题 区别 种类 变体 应用 场景 任务 数据 情况 影响 后果 原因 结果 作用 意义 效果 方法 办法 推荐 建议 经验 例外 太大 太小 大 小 高 低 多 少 好 差 快 慢 "
    "呢 啊 吗 吧 嘛 呀 哦 了 的 地 我 你 它们 它 这个 这样 这里 这 里 上 中 时候 时 实际 实践 工程 面试 代码 公式 例子 原理 和 跟 与 比 以后 之后 以前 别的 其他 另外 "
    "不 行 对 错 一下 一点 一定 必须 真的 到底 究竟 总是 每次 只 才 到 在 去 把 被 从 让 使"
)
_EMPTY_EN = (
    "a an and any are as at be been but by can could did do does done ever for from get go good had has have how i if in into is it its just "
    "kind like make many may me might more most much my need no not of ok okay on one ones or other others our out please really should so "
    "some still such than that the their them then there these they thing things this those to too use used useful using very was way ways we "
    "well were what when where which who why will with without work works would you your avoid prevent fix solve handle deal choose pick "
    "decide tell know see help helps matter matters happen happens mean means cause causes change changes differ difference differences "
    "compare compared better worse best worst slow slower fast faster big bigger small smaller large larger high higher low lower bad "
    "downside downsides upside drawback drawbacks disadvantage disadvantages advantage advantages benefit benefits cost costs limits "
    "limitation limitations alternative alternatives reason reasons effect effects point example examples practice general theory case "
    "cases task tasks problem problems exception exceptions always never usually often instead else both each either again also only about "
    "after before exactly actually"
)


def _any_of(words: str) -> str:
    """A pattern for any of the words; of two at the same place the longer."""
    return "|".join(sorted(words.split(), key=len, reverse=True))


_EMPTY = {
    "zh": re.compile(rf"{_any_of(_EMPTY_ZH)}|\W|_"),
    "en": re.compile(rf"\b(?:{_any_of(_EMPTY_EN)})\b|'(?:s|re|d|ll|m|ve)\b|n't\b|\W|_", re.IGNORECASE),
}


def opens_with_connective(message: str, language: Language) -> bool:
    """Such as "and at test time?" or "那测试的时候呢"."""
    return _OPENS[language].search(message) is not None


def points_back(message: str, language: Language) -> bool:
    """Such as "does it help?" or "它有用吗"."""
    return _POINTS[language].search(message) is not None


def asks_for_more(message: str, language: Language) -> bool:
    """Such as "why?", "an example, please" or "展开讲讲": nothing but a request to say more about the same."""
    return _MORE[language].fullmatch(message.strip(" ?？.。!！,，…~～")) is not None


def names_no_subject(message: str, language: Language) -> bool:
    """Such as "怎么解决" or "any downsides?": every word of it fits any subject."""
    return not _EMPTY[language].sub("", message)


def is_elliptic(message: str, language: Language) -> bool:
    """Such as "卷积层呢" or "and for CNNs?": a phrase without a verb of its own."""
    text = message.strip()
    return _ELLIPTIC[language].fullmatch(text) is not None and not (language == "zh" and _PREDICATE.search(text))
