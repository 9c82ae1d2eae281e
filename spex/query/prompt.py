"""What the language model reads: query, user turn, chat format, special tokens."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from spex.errors import QueryError
from spex.evidence.class_words import mentioned_classes
from spex.query.answer_markup import FACTS, INDEX_FACTS

MAX_QUERY_CHARS = 2000

IMAGE_TOKEN = "<image>"
SPECIAL_TOKENS = (
    "<|pad|>", "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, "<seg", "</seg>", "<refuse>", "</refuse>",
    " class=", " min_area=", " max_area=", " where=", " top=", " index=", " not=",
    *(f"<fact:{name}>" for name in FACTS), *(f"<fact:{name}:" for name in INDEX_FACTS),
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Exchange:
    """An earlier turn of a conversation: the query, and the answer in the model's own markup."""

    query: str
    answer: str


def clean_query(query: str) -> str:
    """Check and normalise what a person typed.

    The result has no control characters, and no markup that the model could take for its own.

    Raises:
        QueryError: empty, longer than ``MAX_QUERY_CHARS``, or with control characters.
    """
    text = query if isinstance(query, str) else ""
    if len(text) <= MAX_QUERY_CHARS:
        text = unicodedata.normalize("NFKC", re.sub(r"[\t\r\n]+", " ", text))
    if len(text) > MAX_QUERY_CHARS:  # as typed, or after normalisation
        raise QueryError(
            f"the query has {len(text)} characters; at most {MAX_QUERY_CHARS} are allowed, "
            "shorten it"
        )
    control = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Co")), None)
    if control is not None:
        raise QueryError(f"the query has a control character (U+{ord(control):04X}); remove it")
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = re.sub(r"<(?=[|/a-zA-Z])", "‹", text)
    text = re.sub(r"\s+", " ", text).strip()
    if not text:
        raise QueryError(
            'the query is empty; say what to find, for example "open water larger than 1 ha"'
        )
    return text


def user_message(query: str, evidence_text: str, image_tokens: int = 0) -> str:
    """The user's turn as the model reads it: visual tokens, the evidence text, the query.

    Classes whose synonyms stand in the query follow it in order, so that a model understands a
    word that was added to ``classes.yaml`` after its training.

    Args:
        query: as ``clean_query`` returns it.
        evidence_text: of the scene; may be empty.
        image_tokens: number of visual tokens.
    """
    class_names = ", ".join(mentioned_classes(query))
    parts = [
        IMAGE_TOKEN * image_tokens,
        evidence_text and f"Evidence:\n{evidence_text}",
        f"Query: {query}",
        class_names and f"Classes: {class_names}",
    ]
    return "\n".join(part for part in parts if part)


def query_of_message(message: str) -> str:
    """The query in a user's turn that ``user_message`` wrote."""
    match = re.search("^Query: (.*)$", message, re.MULTILINE)
    return match[1] if match else ""
