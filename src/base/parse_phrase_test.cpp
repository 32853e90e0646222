// SPDX-License-Identifier: Apache-2.0
// Goal: a sentence of ours that was handed on as a text is found again with its values, and nothing
// is made of the words of others. Method: every entry that may be an error or the end of a run,
// said with a value of each kind and read back; texts that only look alike.
#include "base/parse_phrase.h"

#include "base/phrase_catalogue.h"
#include "base/phrase_json.h"
#include "base/say.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace plimsoll {
namespace {

PhraseValue value_of(PhraseUnit unit) {
    switch (unit) {
        case PhraseUnit::Text:
        case PhraseUnit::Word:
            return "sd xl.ckpt";
        case PhraseUnit::Count:
            return std::int64_t{3};
        case PhraseUnit::Number:
            return 2.5;
        case PhraseUnit::Bytes:
            return Bytes::from_mib(4352);
        case PhraseUnit::Gib:
            return Bytes::from_mib(1024);
        case PhraseUnit::Seconds:
            return 125.0;
        case PhraseUnit::Percent:
            return 0.25;
        case PhraseUnit::Celsius:
            return 83.0;
        case PhraseUnit::Phrase:
        case PhraseUnit::Details:
        case PhraseUnit::Clauses:
            break;
    }
    return Phrases{say<"held.stalled">()};
}

TEST(ParsePhrase, finds_every_error_and_every_end_again_with_its_values) {
    std::size_t seen = 0;
    for (const PhraseEntry& entry : kPhrases) {
        if (!entry.code.starts_with("error.") && !entry.code.starts_with("end.") &&
            !entry.code.starts_with("held."))
            continue;
        if (entry.code == "error.comfyui_lacks")
            continue;  // "{address} has no {target}": see below
        std::vector<PhraseValue> values;
        std::string_view rest = entry.english;
        while (!rest.empty())
            if (const PhrasePlace place = next_place(rest); !place.name.empty() && !place.chooses)
                values.push_back(value_of(unit_of_place(place.unit)));
        const Phrase said(entry, std::move(values));
        const Phrase found = parse_phrase(said.message());
        EXPECT_EQ(found.code(), entry.code) << said.message();
        EXPECT_EQ(found, said) << said.message();
        ++seen;
    }
    EXPECT_GT(seen, 80U);
}

TEST(ParsePhrase, takes_the_sentence_with_the_most_of_its_own_words) {
    EXPECT_EQ(parse_phrase("workflow has no nodes").code(), "error.no_nodes");
    EXPECT_EQ(parse_phrase("preset a: steps must be a number").code(), "error.preset_field");
}

TEST(ParsePhrase, leaves_the_words_of_others_as_they_are) {
    for (const std::string text :
         {"", "mat1 and mat2 shapes cannot be multiplied (77x2048)", "session 3 of the editor",
          "none", "vote 3: for whom", "the disk has no space that could be used"}) {
        const Phrase phrase = parse_phrase(text);
        EXPECT_EQ(phrase.code(), "") << text;
        EXPECT_EQ(phrase.message(), text);
    }
}

TEST(ParsePhrase, keeps_what_is_within_in_the_words_of_others) {
    const Phrase phrase = parse_phrase("this very form ran out of memory before: CUDA said so");
    EXPECT_EQ(phrase, say<"held.wall">(Phrase("CUDA said so")));
}

TEST(ParsePhrase, words_a_reason_that_an_error_gave_within_a_phrase) {
    const Phrase gone = say<"warning.comfyui_gone">(
        say<"error.refused_connection">("http://127.0.0.1:8188").message());
    const json::object sent = phrase_to_json(gone);
    const json::value& why = sent.at("params").at("why");
    EXPECT_EQ(why.at("unit"), "phrase");
    EXPECT_EQ(why.at("value").at("code"), "error.refused_connection");
    EXPECT_EQ(phrase_from_json(sent), gone);
    EXPECT_EQ(
        phrase_to_json(say<"warning.comfyui_gone">("it sleeps")).at("params").at("why").at("unit"),
        "text");
}

TEST(ParsePhrase, gives_up_on_a_text_that_is_all_look_alikes) {
    std::string text = "no job '";
    for (int i = 0; i < 20'000; ++i) text += "' (): in node ";
    EXPECT_EQ(parse_phrase(text).message(), text);
}

}  // namespace
}  // namespace plimsoll
