# SPDX-License-Identifier: Apache-2.0
"""Seconds learned from own runs, on a simulated card that is quicker than the table: its physics come from measurements, not from ours."""
import http.client
import json
import unittest

from daemon import Daemon
from guarded import Socket, wait_until
from support import FunctionalTest, text_to_image

CARD = "rtx3060-12gb"
# 20 times as fast as it would be, and measured in the card's own seconds.
DRAW = ("generate", "a lighthouse", "--model", "sdxl-base", "--width", 512, "--height", 512, "--steps", 20, "--simulate", "--card", CARD,
        "--speed", 20)
LEARNED_CARD = f"{CARD} (simulated)"


def sampling(run):
    return next(phase for phase in run["phases"] if phase["kind"] == "sample")


class LearnedSeconds(FunctionalTest):
    def draw(self, *flags):
        answer = self.run_json(*DRAW, *flags)
        self.assertEqual(answer["outcome"], "done")
        return answer["runs"][0], answer["plan"]["before"]

    def error(self, run):
        return abs(sampling(run)["forecastSeconds"] / sampling(run)["observedSeconds"] - 1)

    def test_after_three_runs_most_of_the_error_is_gone_and_every_door_says_why(self):
        errors = []
        for _ in range(4):
            run, forecast = self.draw()
            errors.append(self.error(run))
        # Measured: 33 % by the table alone, 12 % after three runs; the rest is the loading in the phase, which is not learned.
        self.assertGreater(errors[0], 0.25)
        self.assertLess(errors[3], 0.17)
        self.assertEqual(forecast["secondsFrom"]["runs"], 3)
        self.assertLess(forecast["secondsFrom"]["factor"], 0.95)
        self.assertLess(forecast["secondsFrom"]["low"], forecast["secondsFrom"]["factor"])

        by_card = {card["card"]: card for card in self.run_json("history", "paces")["cards"]}
        works = {work["kind"]: work for work in by_card[LEARNED_CARD]["works"]}
        self.assertEqual(works["sample"]["family"], "sdxl")
        self.assertEqual(works["sample"]["runs"], 4)
        self.assertLess(works["sample"]["factor"], 0.9)
        text, _ = self.run_plimsoll("history", "paces")
        self.assertIn("what it never ran", text)

        # A real card of that name has learned nothing from the simulated one.
        real = self.run_json("forecast", "--model", "sdxl-base", "--card", CARD)
        self.assertNotIn("secondsFrom", real)
        # Without learning it is the table's again.
        run, forecast = self.draw("--learned", "off")
        self.assertNotIn("secondsFrom", forecast)
        self.assertGreater(self.error(run), 0.25)

        daemon = Daemon(self.home, "--simulate", "--card", CARD, "--speed", 0)
        self.addCleanup(daemon.stop)
        for _, event, _ in daemon.stream():
            if event == "telemetry":
                break  # it has looked at its card, and with it at the history
        status, forecast = daemon.post("/api/forecast", {"workflow": text_to_image(512, 512)})
        self.assertEqual(status, 200)
        self.assertGreaterEqual(forecast["secondsFrom"]["runs"], 4)
        # Of another card nothing is known.
        status, elsewhere = daemon.post("/api/forecast", {"workflow": text_to_image(512, 512), "card": "rtx4090"})
        self.assertEqual(status, 200)
        self.assertNotIn("secondsFrom", elsewhere)

    def test_jobs_through_the_gateway_teach_too_where_their_client_listens(self):
        daemon = Daemon(self.home, "--simulate", "--card", CARD, "--speed", 20, PLIMSOLL_POLICY="advise", MAX_VRAM_MB=11000)
        self.addCleanup(daemon.stop)
        port = daemon.start["gatewayPort"]
        client = Socket(port, "client")
        self.addCleanup(client.close)

        def done():
            runs = daemon.get("/api/history?limit=10")[1]["runs"]
            return [run for run in runs if run["outcome"] == "done"]
        for number in range(4):
            graph = text_to_image(512, 512)
            graph["3"]["inputs"]["seed"] = number
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/prompt", json.dumps({"prompt": graph, "client_id": "client"}), {"Content-Type": "application/json"})
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
            client.until(lambda message: message["type"] == "execution_success")
            wait_until(lambda: len(done()) == number + 1, what="the run is not recorded")
        newest = done()[0]
        self.assertEqual((newest["card"], newest["family"]), (LEARNED_CARD, "sdxl"))
        cards = {card["card"]: card for card in self.run_json("history", "paces")["cards"]}
        sample = next(work for work in cards[LEARNED_CARD]["works"] if work["kind"] == "sample")
        # Steps take 1.17 to 1.19 times what the table says on an idle machine. The gateway times them by the clock on the wall, times
        # the speed: a busy machine makes them longer, none shorter.
        self.assertEqual(sample["runs"], 4)
        self.assertGreater(sample["factor"], 1.1)


if __name__ == "__main__":
    unittest.main()
