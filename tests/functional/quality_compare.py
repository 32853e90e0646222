# SPDX-License-Identifier: Apache-2.0
"""plimsoll quality compare: two picture files in, every measure that applies out; bad files are named with their fault."""
import random
import struct
import unittest
import zlib

from support import FunctionalTest


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, bits=8, kind=2):
    """rows: bytes of every row in turn, without filters."""
    size = len(rows) // height
    lines = b"".join(b"\0" + rows[y * size:(y + 1) * size] for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def waves(side, noise=0, seed=1):
    """Slanted waves of three colours, with noise of that many levels."""
    chance = random.Random(seed)
    out = bytearray()
    for y in range(side):
        for x in range(side):
            k = chance.randint(-noise, noise) if noise else 0
            for slope in (3 * x + 5 * y, 2 * x + y + 64, x - 4 * y + 1000):
                out.append(max(0, min(255, min(255, abs(slope % 512 - 256)) + k)))
    return bytes(out)


class QualityCompare(FunctionalTest):
    def file(self, name, content):
        path = self.home / name
        path.write_bytes(content)
        return path

    def pair(self, side=192):
        return self.file("reference.png", png(side, side, waves(side))), self.file("noisy.png", png(side, side, waves(side, 12)))

    def compared(self, *args, **options):
        """The answer, with its measures by name and scale."""
        answer = self.run_json("quality", "compare", *args, **options)
        for part in (answer["reference"], answer["candidate"]):
            part["measures"] = {(m["measure"], m["scale"]): m for m in part["measures"]}
        answer["pair"] = {(m["measure"], m["scale"]): m for m in answer["pair"]}
        return answer

    def refused(self, *args):
        _, err = self.run_plimsoll("quality", "compare", *args, code=None)
        answer = self.run_json("quality", "compare", *args, code=None)
        self.assertEqual(err, f"plimsoll: {answer['error']['message']}\n")
        return answer["error"]["message"]

    def test_measures_noise(self):
        reference, noisy = self.pair()
        answer = self.compared(reference, noisy)
        self.assertEqual(answer["likeness"], "samePicture")
        self.assertLess(answer["pair"]["psnr", "full"]["value"], answer["pair"]["psnr", "quarter"]["value"])
        self.assertLess(answer["pair"]["haarPsi", "full"]["value"], 0.95)
        self.assertGreater(answer["pair"]["mdsi", "full"]["value"], 0.2)
        clean, noise = (answer[p]["measures"]["flatNoise", "full"]["value"] for p in ("reference", "candidate"))
        self.assertLess(clean, noise)
        self.assertEqual(answer["candidate"]["measures"]["niqe", "full"]["reason"], "no references of this run to hold it against")
        for part in (answer["pair"], answer["candidate"]["measures"]):
            for measure in part.values():
                self.assertNotEqual(measure["value"] is None, measure["reason"] is None, measure)

    def test_says_it_in_words(self):
        out, _ = self.run_plimsoll("quality", "compare", *self.pair())
        for words in ("Both show the same picture", "HaarPSI", "noise in flat areas", "more, worse", "not measured",
                      "tiling seams: no tile size is given"):
            self.assertIn(words, out)

    def test_finds_a_picture_equal_to_itself(self):
        reference, _ = self.pair()
        answer = self.compared(reference, reference)
        self.assertEqual(answer["pair"]["psnr", "full"]["reason"], "the pictures are equal: infinite")
        self.assertAlmostEqual(answer["pair"]["haarPsi", "full"]["value"], 1, 5)
        self.assertEqual(answer["reference"]["measures"], answer["candidate"]["measures"])

    def test_draws_a_map_of_what_differs(self):
        reference, noisy = self.pair()
        path = self.home / "map.png"
        answer = self.compared(reference, noisy, "--map", path)
        self.assertEqual(answer["map"], str(path))
        self.assertEqual(struct.unpack(">II", path.read_bytes()[16:24]), (192, 192))

    def test_fits_niqe_to_pictures_of_the_run(self):
        reference, noisy = self.pair(480)
        run = [self.file(f"run{seed}.png", png(480, 480, waves(480, 2, seed))) for seed in range(4)]
        flags = [part for path in run for part in ("--run-reference", path)]
        answer = self.compared(reference, noisy, *flags)
        self.assertGreater(answer["candidate"]["measures"]["niqe", "full"]["value"], 0)
        self.assertIn("the pictures of the run: the references have", self.refused(reference, noisy, "--run-reference", reference))

    def test_looks_for_seams_where_tiles_meet(self):
        reference, noisy = self.pair()
        answer = self.compared(reference, noisy, "--tile-stride", 64)
        self.assertGreater(answer["candidate"]["measures"]["tilingSeams", "full"]["value"], 0.9)
        _, err = self.run_plimsoll("quality", "compare", reference, noisy, "--tile-stride", "8", code=2)
        self.assertIn("'8' is no tile stride: 16 to 8192 pixels", err)

    def test_pictures_of_two_sizes_are_measured_alone(self):
        reference, _ = self.pair()
        small = self.file("small.png", png(96, 96, waves(96)))
        answer = self.compared(reference, small)
        self.assertEqual(answer["likeness"], "unknown")
        self.assertEqual(answer["pair"]["psnr", "full"]["reason"], "the reference has 192 x 192 pixels, this has 96 x 96")
        self.assertIsNotNone(answer["candidate"]["measures"]["colourfulness", "full"]["value"])
        self.assertIn("a map needs two pictures of one size", self.refused(reference, small, "--map", self.home / "no.png"))
        self.assertFalse((self.home / "no.png").exists())

    def test_takes_one_pixel(self):
        one = self.file("one.png", png(1, 1, b"\1\2\3"))
        answer = self.compared(one, one)
        self.assertEqual(answer["pair"]["ssim", "full"]["reason"], "needs 11 x 11 pixels, this has 1 x 1")

    def test_takes_16_bits_grey_and_transparency(self):
        wide = self.file("wide.png", png(2, 1, bytes(12), bits=16))
        grey = self.file("grey.png", png(2, 1, b"\0\xff", kind=0))
        clear = self.file("clear.png", png(2, 1, b"\0\0\0\0\1\2\3\xff", kind=6))
        answer = self.compared(wide, grey)
        self.assertEqual((answer["reference"]["bits"], answer["candidate"]["grey"]), (16, True))
        answer = self.compared(clear, grey)
        self.assertEqual(answer["reference"]["transparentShare"], 0.5)
        self.assertEqual(answer["reference"]["notes"], ["transparent pixels are laid over middle grey"])

    def test_names_what_is_wrong_with_a_file(self):
        reference, noisy = self.pair()
        whole = noisy.read_bytes()
        huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
        for name, content, words in (
                ("cut.png", whole[:len(whole) // 2], "cut.png: the PNG is cut off after"),
                ("text.png", b"hello, world", "text.png: neither PNG, JPEG nor WebP: the file begins with 'hello, w'"),
                ("empty.png", b"", "empty.png: the file is empty"),
                ("huge.png", huge, "huge.png: a picture of 20000 x 20000 is 400000000 pixels, limit 40000000"),
                ("bad.png", whole[:60] + b"\0\0\0\0" + whole[64:], "bad.png: the PNG is damaged")):
            with self.subTest(name):
                self.assertIn(words, self.refused(reference, self.file(name, content)))
        self.assertIn("absent.png", self.refused(reference, self.home / "absent.png"))
        self.assertIn("brisque_model_live.yml", self.refused(reference, noisy, "--brisque", self.home))

    def test_a_name_that_says_another_format_is_a_note(self):
        reference, noisy = self.pair()
        answer = self.compared(reference, self.file("noisy.jpg", noisy.read_bytes()))
        self.assertEqual(answer["candidate"]["notes"], ["it is a PNG, whatever its name says"])

    def test_reads_a_brisque_model_where_it_is_given(self):
        vector = ", ".join(["5.0e-01"] * 36)
        self.file("brisque_model_live.yml", f"""%YAML:1.0
---
opencv_ml_svm:
   svmType: EPS_SVR
   kernel:
      type: RBF
      gamma: 5.0e-02
   var_count: 36
   sv_total: 1
   support_vectors:
      - [ {vector} ]
   decision_functions:
      -
         rho: -30.
         alpha: [ 2. ]
""".encode())
        self.file("brisque_range_live.yml", f"range: !!opencv-matrix\n   data: [ {', '.join(['0.'] * 36 + ['2.'] * 36)} ]\n".encode())
        answer = self.compared(*self.pair(), "--brisque", self.home)
        value = answer["candidate"]["measures"]["brisque", "full"]["value"]
        self.assertTrue(30 <= value <= 32, value)


if __name__ == "__main__":
    unittest.main()
