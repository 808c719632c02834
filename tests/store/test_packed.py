"""Texts that are kept compressed."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from tuner.store.packed import PackedTexts


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 9, 30, 64])
def test_packed_texts_read_as_the_list_of_them(count: int) -> None:
    draw = random.Random(count)
    texts = [f'{{"n":{number}}}\n\0\ud800é' for number in range(count)]
    packed = PackedTexts(block=4)
    begun = 0
    while begun < count:
        more = draw.randint(1, 11)
        packed.extend(texts[begun : begun + more])
        begun += more
    assert len(packed) == count
    assert list(packed) == texts
    assert [packed[index] for index in range(-count, count)] == [*texts, *texts]
    for _ in range(100):
        some = slice(*(draw.choice([None, draw.randint(-70, 70)]) for _ in range(2)), draw.choice([None, 1, 3, -1, -2]))
        assert packed[some] == texts[some]
    for index in (count, -count - 1):
        with pytest.raises(IndexError):
            packed[index]


def test_packed_texts_take_a_tenth_of_the_memory() -> None:
    def kept(texts: list[str] | PackedTexts) -> int:
        tracemalloc.start()
        for number in range(20_000):
            texts.extend(
                [f'{{"op_code":8,"trial_id":{number},"user_attr":{{"report:1":{{"seconds":0.25,"used_s":1.5}}}}}}']
            )
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held

    assert kept(PackedTexts()) < kept([]) / 10
