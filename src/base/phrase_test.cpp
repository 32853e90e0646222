// SPDX-License-Identifier: Apache-2.0
// Goal: a phrase reads as one English sentence and keeps its values apart, and the catalogue holds
// together. Method: sentences of the catalogue with values at hand, and every entry looked at.
#include "base/phrase.h"

#include "base/phrase_catalogue.h"
#include "base/phrase_json.h"
#include "base/say.h"

#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <set>

namespace plimsoll {
namespace {

TEST(Phrase, reads_as_its_sentence_with_each_value_in_its_unit) {
    EXPECT_EQ(say<"judge.under">(Bytes::from_mib(4097), Bytes::from_mib(4352)).message(),
              "peak 4097 MiB is under the line of 4352 MiB");
    EXPECT_EQ(say<"price.smaller">(0.8).message(), "a smaller picture, 80 % of the sides");
    EXPECT_EQ(say<"time.copying">(Bytes::from_mib(100), 6.2, 0.5).message(),
              "copying weights to the card: 100 MiB at 6.2 GB/s = 0.50 s");
    EXPECT_EQ(std::string(say<"where.node">("3", "KSampler")), "node 3 (KSampler)");
}

TEST(Phrase, chooses_the_word_of_one_and_of_many) {
    EXPECT_EQ(say<"doctor.history">("h.db", 1).message(), "h.db: 1 run");
    EXPECT_EQ(say<"doctor.history">("h.db", 2).message(), "h.db: 2 runs");
}

TEST(Phrase, holds_sentences_within_the_sentence) {
    const Phrase judged = say<"judge.under">(Bytes::from_mib(100), Bytes::from_mib(200));
    EXPECT_EQ(say<"plan.none">(judged, Phrases{say<"refused.size">(), say<"refused.steps">()}),
              "no allowed change is enough: peak 100 MiB is under the line of 200 MiB; the size is "
              "pinned; steps is pinned");
    EXPECT_EQ(say<"doctor.driver">("A", "nvml", Phrases{}).message(), "A (nvml)");
}

TEST(Phrase, tells_its_values_by_name) {
    const Phrase phrase = say<"phase.looks">("net", 2, 64, 32);  // has a place that only chooses
    std::vector<std::string> names;
    for (const Phrase::Param& param : phrase.params()) names.emplace_back(param.name);
    EXPECT_EQ(names, (std::vector<std::string>{"network", "images", "width", "height"}));
    EXPECT_EQ(std::get<std::int64_t>(*phrase.params()[1].value), 2);
    EXPECT_EQ(phrase.code(), "phase.looks");
}

TEST(Phrase, of_somebody_else_has_words_and_no_code) {
    const Phrase plain(std::string("connection refused {here}"));
    EXPECT_EQ(plain.code(), "");
    EXPECT_EQ(plain, "connection refused {here}");
    EXPECT_TRUE(plain.params().empty());
    EXPECT_FALSE(plain.empty());
    EXPECT_TRUE(Phrase(std::string()).empty());
    EXPECT_EQ(Phrase().message(), "");
}

TEST(Phrase, comes_back_from_its_json_with_every_value) {
    const Phrase judged = say<"judge.under">(Bytes::from_mib(100), Bytes::from_mib(200));
    for (const Phrase& phrase :
         {say<"lab.over_line">(judged), say<"plan.none">(judged, Phrases{say<"refused.size">()}),
          say<"time.copying">(Bytes::from_mib(100), 6.25, 0.5), say<"price.smaller">(1.0),
          say<"phase.looks">("net", 2, 64, 32), Phrase("somebody's words"), Phrase()}) {
        // As text in between: a number without a fraction must not become another kind.
        const auto read = parse_json(json::serialize(phrase_to_json(phrase)));
        ASSERT_TRUE(read);
        EXPECT_EQ(phrase_from_json(*read), phrase) << phrase.message();
    }
}

TEST(Phrase, of_another_version_is_read_as_what_it_said) {
    const auto read = [](const char* text) { return phrase_from_json(parse_json(text).value()); };
    const Phrase unknown = read(R"({"code": "no.such", "params": {}, "message": "it was so"})");
    EXPECT_EQ(unknown, "it was so");
    EXPECT_EQ(unknown.code(), "");
    // A value is missing, or of another kind.
    for (const char* params : {"{}", R"({"spent": {"unit": "seconds", "value": "long"}})", "7"}) {
        const Phrase phrase =
            read(("{\"code\": \"lab.time_up\", \"params\": " + std::string(params) +
                  ", \"message\": \"late\"}")
                     .c_str());
        EXPECT_EQ(phrase, "late");
        EXPECT_EQ(phrase.code(), "");
    }
    EXPECT_EQ(read(R"("a text alone")"), "a text alone");
    EXPECT_TRUE(read("null").empty());
    EXPECT_TRUE(read("[1]").empty());
}

TEST(Phrase, is_equal_by_code_and_values) {
    EXPECT_EQ(say<"where.node">("3", "A"), say<"where.node">("3", "A"));
    EXPECT_NE(say<"where.node">("3", "A"), say<"where.node">("4", "A"));
    EXPECT_NE(say<"where.job">(), Phrase("the job"));  // the same words, and not the same thing
}

TEST(PhraseCatalogue, has_each_code_once_and_only_units_that_exist) {
    const std::set<std::string_view> units{"",        "word",   "count",   "number",
                                           "bytes",   "gib",    "seconds", "percent",
                                           "celsius", "phrase", "details", "clauses"};
    std::set<std::string_view> codes;
    for (const PhraseEntry& entry : kPhrases) {
        EXPECT_TRUE(codes.insert(entry.code).second) << entry.code << " twice";
        std::map<std::string_view, std::string_view> places;
        std::string_view rest = entry.english;
        while (!rest.empty()) {
            const PhrasePlace place = next_place(rest);
            if (place.name.empty()) continue;
            if (place.chooses) {
                EXPECT_EQ(places[place.name], "count") << entry.code << " " << place.name;
                continue;
            }
            EXPECT_TRUE(units.contains(place.unit)) << entry.code << " " << place.unit;
            EXPECT_TRUE(places.emplace(place.name, place.unit).second)
                << entry.code << " has " << place.name << " twice";
        }
    }
}

}  // namespace
}  // namespace plimsoll
