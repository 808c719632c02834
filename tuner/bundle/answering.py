"""What `tuner serve` answers to HTTP requests. Knows nothing of Ray: whoever serves gives the function that predicts.

| request | answer |
|---|---|
| POST /predict[?top=3] | 200 {predictions: [{name, classes: [{class, probability}]}]}, one for each picture |
| GET /healthz | 200 {status} |
| GET /metadata | 200 {classes, input, study, trial, limits} |

The body of a prediction is one picture, or multipart/form-data with a part for each. Refused, as {error}: 400 for no
picture or a malformed request, 404, 405, 413 for too large or too many, 422 for what is no picture.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse

from tuner.bundle.predict import Classifier, top
from tuner.training.pixels import Broken, decode_bytes, parsing

Predict = Callable[[NDArray[np.uint8]], Awaitable[NDArray[np.float32]]]
"""One decoded picture, H x W x C, to the probabilities of its K classes; gathers those that arrive together."""

_METHODS = {"/predict": "POST", "/healthz": "GET", "/metadata": "GET"}
_TOP = 3


@dataclass(frozen=True)
class Limits:
    """bytes: of the body of one request; pictures: in it; pixels: of one picture, which takes memory for them however
    small its file is."""

    bytes: int = 16 << 20
    pictures: int = 64
    pixels: int = 50_000_000


@dataclass(frozen=True)
class Sent:
    """A picture as it came: the name of its file, if the client gave one, and its bytes."""

    name: str
    content: bytes


async def answer(request: Request, classifier: Classifier, predict: Predict, limits: Limits) -> JSONResponse:
    """The response to any request; what is wrong with one becomes its answer, nothing is raised."""
    method = _METHODS.get(request.url.path)
    if method is None:
        return _refusal(404, f"there is no {request.url.path}, only {', '.join(_METHODS)}")
    if request.method != method:
        return _refusal(405, f"{request.url.path} takes {method}, not {request.method}", {"Allow": method})
    if request.url.path == "/healthz":
        return JSONResponse({"status": "ok"})
    if request.url.path == "/metadata":
        return JSONResponse(_metadata(classifier, limits))
    try:
        count = _top(request)
        sent = await _pictures(request, limits)
        images = await asyncio.gather(
            *(asyncio.to_thread(_decode, one, classifier.side, classifier.channels, limits) for one in sent)
        )
    except HTTPException as refused:
        return _refusal(refused.status_code, refused.detail)
    rows = await asyncio.gather(*(predict(image) for image in images))
    found = [
        {"name": one.name, "classes": top(row, classifier.classes, count)} for one, row in zip(sent, rows, strict=True)
    ]
    return JSONResponse({"predictions": found})


def _metadata(classifier: Classifier, limits: Limits) -> dict[str, object]:
    shape = {"height": classifier.side, "width": classifier.side, "channels": classifier.channels}
    known = {key: value for key, value in classifier.metadata.items() if key != "classes"}
    return {"classes": classifier.classes, "input": shape, **known, "limits": asdict(limits)}


def _refusal(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


def _top(request: Request) -> int:
    text = request.query_params.get("top", str(_TOP))
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise HTTPException(400, f"top = {text!r} must be a number of classes, at least 1")
    return int(text)


async def _pictures(request: Request, limits: Limits) -> list[Sent]:
    body = await _body(request, limits.bytes)
    if not body:
        raise HTTPException(400, "the request has no picture: send one as its body, or several as multipart/form-data")
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return [Sent("", body)]

    async def stream() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=limits.pictures + 1, max_part_size=limits.bytes)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        text = error.message if isinstance(error, MultiPartException) else "it is malformed"
        raise HTTPException(400, f"the multipart/form-data cannot be read: {text}") from error
    try:
        files = [value for _, value in form.multi_items() if not isinstance(value, str)]
        if len(files) > limits.pictures:
            raise HTTPException(413, f"more than {limits.pictures} pictures in one request: send several requests")
        if not files:
            raise HTTPException(
                400, "no part of the multipart/form-data has a file: `curl -F picture=@cat.jpg` sends one"
            )
        return [Sent(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


async def _body(request: Request, limit: int) -> bytes:
    """Stops reading at the limit: what is sent beyond is never in memory."""
    too_large = HTTPException(413, f"the request is larger than {limit:,} bytes")
    if (
        request.headers.get("content-length", "0").isdecimal()
        and int(request.headers.get("content-length", "0")) > limit
    ):
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _decode(sent: Sent, side: int, channels: int, limits: Limits) -> NDArray[np.uint8]:
    name = f"{sent.name}: " if sent.name else ""
    try:
        with parsing(), Image.open(io.BytesIO(sent.content)) as image:
            width, height = image.size
        if width * height > limits.pixels:
            raise HTTPException(413, f"{name}{width} x {height} pixels are more than {limits.pixels:,}")
        return decode_bytes(sent.content, side, channels)
    except Broken as error:
        raise HTTPException(422, f"{name}{error}") from error
