# SPDX-License-Identifier: Apache-2.0
"""Targets pass as they are: what is escaped stays escaped, nothing is normalised, both prefixes and every method pass."""
import unittest

from wire import OK, GatewayTest, says

TARGETS = ("/userdata/workflows%2Fa.json", "/api/userdata/a%2Fb%2Fc/move/d%2Fe?overwrite=false", "//prompt", "/a/../b/./c", "/view?filename=a+b%20c.png&preview=webp;90",
           "/view?filename=%E5%9B%BE.png&x=%5B1%5D&empty=&&rand=0.5", "/%70rompt", "/x?a=b?c=d", "/x/", "/a//b///c", "/x?", "/-._~!$&'()*+,;=:@", '/x"<>\\^`{|}')


class RawPaths(GatewayTest):
    def test_every_target_passes_as_it_is(self):
        for target in TARGETS:
            self.upstream.routes[target.partition("?")[0]] = says(OK)
            self.assertEqual(self.ask(self.get(target))[0], 200, target)
        self.assertEqual([line for line, _ in self.upstream.requests], [f"GET {target} HTTP/1.1" for target in TARGETS])

    def test_every_method_passes_on_both_prefixes(self):
        for prefix in ("", "/api"):
            self.upstream.routes[prefix + "/x"] = says(OK)
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE", "m-search"):
                request = f"{method} {prefix}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                self.assertEqual(self.ask(request)[0], 200)
                self.assertEqual(self.upstream.requests[-1][0], f"{method} {prefix}/x HTTP/1.1")

    def test_the_absolute_form_passes_as_it_is(self):
        self.upstream.routes["http://x/y"] = says(OK)
        self.assertEqual(self.ask(b"GET http://x/y HTTP/1.1\r\nHost: x\r\n\r\n")[0], 200)


if __name__ == "__main__":
    unittest.main()
