# SPDX-License-Identifier: Apache-2.0
"""What the daemon tells of a card whose driver is on its own machine: a fake libnvidia-ml.so.1 stands where NVIDIA's would be found."""
import os
import pathlib
import unittest

from daemon import Daemon
from scripted_comfyui import ScriptedComfyUi
from support import FunctionalTest

FAKE = pathlib.Path(os.environ["PLIMSOLL_BUILD"]) / "src/telemetry/libfake_nvml.so"


class ComfyUiOn(ScriptedComfyUi):
    def __init__(self, card):
        super().__init__()
        self.card = card

    def stats(self):
        stats = super().stats()
        stats["devices"][0]["name"] = f"cuda:0 {self.card} : cudaMallocAsync"
        return stats


LAPTOP = "NVIDIA GeForce RTX 3050 6GB Laptop GPU"  # the fake library's card
OTHER = "Imaginary Card 9000"  # no driver's


class Card(FunctionalTest):
    def first_telemetry(self, comfyui, **env):
        daemon = Daemon(self.home, "--comfyui-port", comfyui.port, **env)
        self.addCleanup(daemon.stop)
        for _, event, data in daemon.stream():
            if event == "telemetry":
                status, devices = daemon.get("/api/devices")
                self.assertEqual(status, 200)
                self.assertEqual(devices["devices"][0]["temperatureC"], data["temperatureC"])
                _, _, metrics = daemon.ask("GET", "/metrics")
                return data, metrics.decode()
        self.fail("the stream ended without telemetry")

    def test_the_driver_tells_what_comfyui_does_not(self):
        os.symlink(FAKE, pathlib.Path(self.home) / "libnvidia-ml.so.1")
        with ComfyUiOn(LAPTOP) as comfyui:
            data, metrics = self.first_telemetry(comfyui, LD_LIBRARY_PATH=self.home)
        self.assertEqual(data["state"], "awake")
        self.assertEqual((data["temperatureC"], data["powerWatts"], data["clockMhz"], data["throttled"]), (61, 55, 1470, False))
        self.assertEqual(data["limits"], {"targetC": 75, "maxOperatingC": 87, "slowdownC": 102, "shutdownC": 105})
        self.assertEqual(data["usedBytes"], 6184894464 - 5869928448)  # ComfyUI's own, as before
        self.assertIn("plimsoll_gpu_temperature_celsius", metrics)

    def test_another_card_of_this_machine_is_not_taken_for_it(self):
        os.symlink(FAKE, pathlib.Path(self.home) / "libnvidia-ml.so.1")
        with ComfyUiOn(OTHER) as comfyui:
            data, _ = self.first_telemetry(comfyui, LD_LIBRARY_PATH=self.home)
        self.assertIsNone(data["temperatureC"])
        self.assertIsNone(data["state"])

    def test_without_a_driver_nothing_is_made_up(self):
        with ComfyUiOn(OTHER) as comfyui:
            data, metrics = self.first_telemetry(comfyui)
        for name in ("temperatureC", "powerWatts", "clockMhz", "utilization", "throttled", "state"):
            self.assertIsNone(data[name], name)
        self.assertEqual(data["processes"], [])
        self.assertNotIn("plimsoll_gpu_temperature_celsius{", metrics)


if __name__ == "__main__":
    unittest.main()
