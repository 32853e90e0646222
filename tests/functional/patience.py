# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for ComfyUI's own tests: their client waits until the server is there.

They give a server twenty seconds to import torch, which a busy machine does not keep, with or without a gateway in between; and between two of
their servers the gateway's port is open while ComfyUI's is not. Loaded with `-p patience` in both runs, so that both are alike.
"""
import time

import websocket

PATIENCE_S = 240  # chosen: ten times a start on two busy cores
AGAIN_S = 0.5
connect_once = websocket.WebSocket.connect


def connect(self, url, **options):
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return connect_once(self, url, **options)
        except (OSError, websocket.WebSocketException):
            if time.monotonic() > until:
                raise
        time.sleep(AGAIN_S)


websocket.WebSocket.connect = connect
