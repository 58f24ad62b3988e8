"""Answers requests as JSON: what was asked, and how many letters each word has."""

import json
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        asked = urlsplit(request.path_with_query() or "/")
        words = parse_qs(asked.query).get("word", [])
        said = {"path": asked.path, "letters": Counter(letter for word in words for letter in word)}

        response = OutgoingResponse(Fields.from_list([("content-type", b"application/json")]))
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(json.dumps(said, sort_keys=True).encode())
        OutgoingBody.finish(body, None)
