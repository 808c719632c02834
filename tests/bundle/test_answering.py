"""Requests and their answers, without a server: the limits, and what is said of what is no picture."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request

from tuner.bundle.answering import Limits, answer
from tuner.bundle.predict import Classifier, top

LIMITS = Limits(bytes=4000, pictures=2, pixels=10_000)


def png(width: int = 20, height: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (250, 10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--edge--\r\n", {"content-type": "multipart/form-data; boundary=edge"}


@pytest.fixture(scope="module")
def classifier(colour_bundle: Path) -> Classifier:
    return Classifier(colour_bundle / "model.onnx")


@pytest.fixture
def ask(classifier):
    """`ask("POST", "/predict", body, headers)` gives (status, JSON); the body comes in pieces of 1,000 bytes."""

    async def predict(image):
        return classifier.run(image[np.newaxis])[0]

    def call(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b""]

        async def receive():
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        response = asyncio.run(answer(Request(scope, receive), classifier, predict, LIMITS))
        call.pieces_left = len(pieces)
        return response.status_code, json.loads(response.body)

    return call


def test_one_picture_as_the_body_gets_its_classes(ask, classifier, tmp_path):
    (tmp_path / "red.png").write_bytes(png())
    (expected,) = classifier.predict([tmp_path / "red.png"])
    assert ask("POST", "/predict", png()) == (
        200,
        {"predictions": [{"name": "", "classes": top(expected.probabilities, classifier.classes, 3)}]},
    )


def test_several_pictures_as_a_form_get_theirs_in_order_with_as_many_classes_as_asked_for(ask):
    body, headers = form(("a.png", png()), ("b.png", png(30, 30)))
    status, found = ask("POST", "/predict?top=1", body, headers)
    assert status == 200
    assert [one["name"] for one in found["predictions"]] == ["a.png", "b.png"]
    assert [[guess["class"] for guess in one["classes"]] for one in found["predictions"]] == [["red"], ["red"]]


def test_metadata_and_health(ask):
    status, found = ask("GET", "/metadata")
    assert status == 200
    assert found == {
        "classes": ["blue", "green", "red"],
        "input": {"height": 32, "width": 32, "channels": 3},
        "study": "numbers",
        "trial": "1",
        "limits": {"bytes": 4000, "pictures": 2, "pixels": 10_000},
    }
    assert ask("GET", "/healthz") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/predict", (b"", {}), 400, "the request has no picture: send one as its body, or several"),
        ("POST", "/predict", (b"no picture", {}), 422, "not a picture"),
        ("POST", "/predict", (png()[:60], {}), 422, "image file is truncated"),
        ("POST", "/predict", form(("a.png", png()), ("b.png", b"no")), 422, "b.png: not a picture"),
        ("POST", "/predict", form(("a.png", b"")), 422, "a.png: "),
        ("POST", "/predict", form(*[("a.png", png())] * 3), 413, "more than 2 pictures in one request"),
        ("POST", "/predict", (b"x" * 4001, {}), 413, "the request is larger than 4,000 bytes"),
        ("POST", "/predict", (png(101, 100), {}), 413, "101 x 100 pixels are more than 10,000"),
        ("POST", "/predict", (b"x", {"content-type": "multipart/form-data"}), 400, "cannot be read"),
        ("POST", "/predict", (b"x", {"content-type": "multipart/form-data; boundary=y"}), 400, "cannot be read"),
        ("POST", "/predict", (b"--y--\r\n", {"content-type": "multipart/form-data; boundary=y"}), 400, "no part of"),
        ("POST", "/predict?top=0", (png(), {}), 400, "top = '0' must be a number of classes, at least 1"),
        ("POST", "/predict?top=many", (png(), {}), 400, "top = 'many' must be"),
        ("GET", "/predict", (b"", {}), 405, "/predict takes POST, not GET"),
        ("POST", "/healthz", (b"", {}), 405, "/healthz takes GET, not POST"),
        ("GET", "/", (b"", {}), 404, "there is no /, only /predict, /healthz, /metadata"),
    ],
)
def test_what_is_refused_is_refused_with_a_clear_reason(ask, method, path, body, status, text):
    found, told = ask(method, path, *body)
    assert (found, list(told)) == (status, ["error"])
    assert text in told["error"]


def test_a_body_beyond_the_limit_is_not_read_to_its_end(ask):
    assert ask("POST", "/predict", b"x" * 100_000)[0] == 413
    assert ask.pieces_left > 90
    assert ask("POST", "/predict", b"x" * 100_000, {"content-length": "100000"})[0] == 413
    assert ask.pieces_left == 100, "said beforehand, nothing is read"
