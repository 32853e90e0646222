# SPDX-License-Identifier: Apache-2.0
"""/metrics in Prometheus' form and base units, and the dashboard of docs/grafana.json, which asks for nothing that is not there."""
import json
import re
import unittest

import support
from daemon import Daemon
from support import FunctionalTest

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Words of PromQL that the dashboard uses beside names of metrics.
WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "or", "vector", "ignoring", "group_right"}


def samples_of(text):
    """{name: {frozenset of label names, ...}}; every line must be a sample, a comment or empty."""
    samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(rf'({NAME})(?:\{{(.*)\}})? (\S+)(?: \d+)?', line)
        assert found, line
        float(found.group(3).replace("+Inf", "inf"))
        labels = dict(re.findall(rf'({NAME})="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
        samples.setdefault(found.group(1), set()).add(frozenset(labels))
    return samples


class Metrics(FunctionalTest):
    def after_a_job(self):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", 20)
        self.addCleanup(daemon.stop)
        # The card is told about once it has been looked at, which a quick job does not wait for.
        next(event for _, event, _ in daemon.stream() if event == "telemetry")
        job = {"model": "sdxl-base", "width": 512, "height": 512, "steps": 20, "prompt": "x"}
        self.assertEqual(daemon.wait_for_job(daemon.post("/api/generate", job)[1]["jobId"])["state"], "done")
        status, headers, text = daemon.ask("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        return text.decode()

    def test_every_metric_is_named_by_its_base_unit_and_explained(self):
        text = self.after_a_job()
        families = dict(re.findall(rf"^# TYPE ({NAME}) (\w+)$", text, re.M))
        explained = set(re.findall(rf"^# HELP ({NAME}) \S", text, re.M))
        self.assertEqual(set(families), explained)
        for name, kind in families.items():
            self.assertRegex(name, r"^(plimsoll|process)_", name)
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
            self.assertNotRegex(name, r"_(ms|mb|mib|gib|mhz|percent|minutes)(_|$)", name)
        self.assertGreater(len(samples_of(text)), 20)

    def test_the_dashboard_asks_for_what_is_there(self):
        samples = samples_of(self.after_a_job())
        dashboard = json.loads((support.SOURCE / "docs/grafana.json").read_text())
        asked = set()
        for panel in dashboard["panels"]:
            self.assertTrue(panel["title"] and panel["description"], panel["id"])
            for target in panel["targets"]:
                query = target["expr"]
                bare = re.sub(r'"[^"]*"|\[[0-9]+[smhd]\]', "", query)
                grouped = {word for group in re.findall(r"by \(([^)]*)\)", bare) for word in re.split(r", *", group)}
                picked = set(re.findall(rf"[{{,]\s*({NAME})\s*=", bare))
                bare = re.sub(r"by \([^)]*\)|ignoring\([^)]*\)|\{[^}]*\}", "", bare)
                names = set(re.findall(NAME, bare)) - WORDS
                self.assertTrue(names, query)
                for name in names:
                    self.assertIn(name, samples, query)
                    for label in (grouped | picked) - {"le"}:
                        self.assertTrue(any(label in labels for labels in samples[name]), f"{label} of {name} in {query}")
                shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                kept = grouped or {label for name in names for labels in samples[name] for label in labels}
                self.assertLessEqual(shown, kept, target)
                asked |= names
        # And it leaves out nothing that the daemon measures.
        families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}
        self.assertEqual(families - {re.sub(r"_bucket$", "", name) for name in asked}, set())

    def test_panels_lie_beside_each_other_not_upon(self):
        panels = json.loads((support.SOURCE / "docs/grafana.json").read_text())["panels"]
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertLessEqual(place["x"] + place["w"], 24)
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))


if __name__ == "__main__":
    unittest.main()
