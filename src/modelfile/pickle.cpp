// SPDX-License-Identifier: Apache-2.0
#include "modelfile/pickle.h"

#include "modelfile/torch_rebuild.h"
#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>
#include <variant>

namespace plimsoll::modelfile {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kStackMax =
    1'000'000;  // chosen: a list of a million items before its APPENDS
constexpr std::size_t kForeignGlobalsMax = 20;  // chosen: enough to see what the file is about
constexpr std::uint64_t kLineBytesMax = 4096;   // chosen: names and numbers of protocol 0
constexpr unsigned char kProtocolMax = 5;

// The machine that a pickle runs on (Python's Lib/pickletools.py describes it), reduced to building
// values.
class Scanner {
  public:
    explicit Scanner(ByteReader& reader) : reader_(reader) {}

    Result<Pickle> scan() {
        for (;;) {
            TRY_ASSIGN(const auto opcode, reader_.take_integer<unsigned char>());
            if (opcode == '.') {
                TRY_ASSIGN(pickle_.top, pop());
                return std::move(pickle_);
            }
            TRY_DO(step(opcode));
        }
    }

  private:
    // --- stack, marks, memo
    // -------------------------------------------------------------------------------------------
    Result<ValueId> add(PickleValue value) {
        if (pickle_.values.size() == kPickleValuesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle has more than {} values", kPickleValuesMax));
        pickle_.values.push_back(std::move(value));
        return static_cast<ValueId>(pickle_.values.size() - 1);
    }

    Result<void> push_id(ValueId id) {
        if (stack_.size() == kStackMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle needs a stack of more than {} values", kStackMax));
        stack_.push_back(id);
        return {};
    }

    Result<void> push(PickleValue value) {
        TRY_ASSIGN(const ValueId id, add(std::move(value)));
        return push_id(id);
    }

    // The stack above the innermost mark belongs to that mark.
    [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

    Result<ValueId> pop() {
        if (stack_.size() <= floor())
            return fail(Errc::Corrupt, "pickle takes from an empty stack");
        const ValueId id = stack_.back();
        stack_.pop_back();
        return id;
    }

    Result<ValueId> peek() const {
        if (stack_.size() <= floor()) return fail(Errc::Corrupt, "pickle looks at an empty stack");
        return stack_.back();
    }

    Result<std::vector<ValueId>> pop_to_mark() {
        if (marks_.empty()) return fail(Errc::Corrupt, "pickle lacks a mark");
        std::vector<ValueId> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                                   stack_.end());
        stack_.resize(marks_.back());
        marks_.pop_back();
        return items;
    }

    Result<void> remember(std::uint64_t key) {
        TRY_ASSIGN(const ValueId id, peek());
        memo_[key] = id;
        return {};
    }

    Result<void> recall(std::uint64_t key) {
        const auto at = memo_.find(key);
        if (at == memo_.end())
            return fail(Errc::Corrupt,
                        fmt::format("pickle recalls {}, which it never stored", key));
        return push_id(at->second);
    }

    // --- one opcode
    // ---------------------------------------------------------------------------------------------------
    Result<void> step(unsigned char opcode) {
        for (const auto group :
             {&Scanner::step_number, &Scanner::step_text, &Scanner::step_container,
              &Scanner::step_stack, &Scanner::step_object}) {
            TRY_ASSIGN(const bool is_done, (this->*group)(opcode));
            if (is_done) return {};
        }
        return fail(Errc::Corrupt, fmt::format("pickle has the unknown opcode {:#04x} at byte {}",
                                               opcode, reader_.position() - 1));
    }

    Result<void> push_integer(std::int64_t number) {
        return push(PickleValue(Kind::Integer, number));
    }

    // Two's complement of any length; beyond 63 bits nothing of ours needs the value.
    Result<void> push_long(std::uint64_t length) {
        TRY_ASSIGN(const std::string_view bytes, reader_.take(length));
        if (length > 8) return push(PickleValue(Kind::Opaque));
        std::uint64_t value = length > 0 && (static_cast<unsigned char>(bytes.back()) & 0x80U) != 0
                                  ? ~std::uint64_t{0}
                                  : 0;
        for (std::size_t i = 0; i < length; ++i) {
            value &= ~(std::uint64_t{0xff} << (8 * i));
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        }
        return push_integer(static_cast<std::int64_t>(value));
    }

    Result<bool> step_number(unsigned char opcode) {
        switch (opcode) {
            case 'N':
                TRY_DO(push(PickleValue(Kind::None)));
                return true;
            case 0x88:
            case 0x89:
                TRY_DO(push(PickleValue(Kind::Bool, opcode == 0x88)));
                return true;
            case 'J': {
                TRY_ASSIGN(const auto n, reader_.take_integer<std::int32_t>());
                TRY_DO(push_integer(n));
                return true;
            }
            case 'K': {
                TRY_ASSIGN(const auto n, reader_.take_integer<std::uint8_t>());
                TRY_DO(push_integer(n));
                return true;
            }
            case 'M': {
                TRY_ASSIGN(const auto n, reader_.take_integer<std::uint16_t>());
                TRY_DO(push_integer(n));
                return true;
            }
            case 0x8a: {
                TRY_ASSIGN(const auto n, reader_.take_integer<std::uint8_t>());
                TRY_DO(push_long(n));
                return true;
            }
            case 0x8b: {
                TRY_ASSIGN(const auto n, reader_.take_integer<std::uint32_t>());
                TRY_DO(push_long(n));
                return true;
            }
            case 'G':
                TRY_DO(reader_.skip(8));
                TRY_DO(push(PickleValue(Kind::Real)));
                return true;
            case 'F': {
                TRY_DO(reader_.take_line(kLineBytesMax));
                TRY_DO(push(PickleValue(Kind::Real)));
                return true;
            }
            case 'I':
            case 'L': {
                TRY_ASSIGN(const std::string line, reader_.take_line(kLineBytesMax));
                if (opcode == 'I' && (line == "00" || line == "01")) {
                    TRY_DO(push(PickleValue(Kind::Bool, line == "01")));
                    return true;
                }
                std::int64_t value = 0;
                const auto [end, error] =
                    std::from_chars(line.data(), line.data() + line.size(), value);
                if (error != std::errc() || end == line.data())
                    return fail(Errc::Corrupt, "pickle has a number that is none");
                TRY_DO(push_integer(value));
                return true;
            }
            default:
                return false;
        }
    }

    Result<void> push_text(std::uint64_t length, Kind kind) {
        TRY_ASSIGN(const std::string_view bytes, reader_.take(length));
        return push(PickleValue(kind, std::string(bytes)));
    }

    template <class Length>
    Result<bool> push_counted(Kind kind) {
        TRY_ASSIGN(const auto length, reader_.take_integer<Length>());
        TRY_DO(push_text(length, kind));
        return true;
    }

    Result<bool> step_text(unsigned char opcode) {
        switch (opcode) {
            case 'X':
            case 'T':
                return push_counted<std::uint32_t>(Kind::Text);
            case 0x8c:
            case 'U':
                return push_counted<std::uint8_t>(Kind::Text);
            case 0x8d:
                return push_counted<std::uint64_t>(Kind::Text);
            case 'B':
                return push_counted<std::uint32_t>(Kind::Bytes);
            case 'C':
                return push_counted<std::uint8_t>(Kind::Bytes);
            case 0x8e:
            case 0x96:
                return push_counted<std::uint64_t>(Kind::Bytes);
            case 'V':
            case 'S': {
                TRY_ASSIGN(std::string line, reader_.take_line(kLineBytesMax));
                const bool is_quoted =
                    opcode == 'S' && line.size() >= 2 && line.front() == line.back();
                TRY_DO(push(
                    PickleValue(Kind::Text, is_quoted ? line.substr(1, line.size() - 2) : line)));
                return true;
            }
            default:
                return false;
        }
    }

    Result<void> push_items(Kind kind, std::vector<ValueId> items) {
        return push(PickleValue(kind, std::move(items)));
    }

    Result<bool> push_popped(Kind kind, int count) {
        std::vector<ValueId> items(static_cast<std::size_t>(count));
        for (int i = count - 1; i >= 0; --i) {
            TRY_ASSIGN(items[static_cast<std::size_t>(i)], pop());
        }
        TRY_DO(push_items(kind, std::move(items)));
        return true;
    }

    Result<bool> push_marked(Kind kind) {
        TRY_ASSIGN(std::vector<ValueId> items, pop_to_mark());
        if (kind == Kind::Dict && items.size() % 2 != 0)
            return fail(Errc::Corrupt, "pickle has a key without a value");
        TRY_DO(push_items(kind, std::move(items)));
        return true;
    }

    // Puts items into the list or dictionary on top of the stack; into anything opaque they vanish.
    Result<bool> extend_top(const std::vector<ValueId>& items, Kind kind) {
        TRY_ASSIGN(const ValueId id, peek());
        PickleValue& target = pickle_.values[id];
        if (target.kind == Kind::Opaque) return true;
        if (target.kind != kind || (kind == Kind::Dict && items.size() % 2 != 0))
            return fail(Errc::Corrupt, "pickle puts items into what cannot hold them");
        target.items.insert(target.items.end(), items.begin(), items.end());
        return true;
    }

    Result<bool> step_container(unsigned char opcode) {
        switch (opcode) {
            case ']':
            case 0x8f:
                TRY_DO(push_items(Kind::List, {}));
                return true;
            case ')':
                TRY_DO(push_items(Kind::Tuple, {}));
                return true;
            case '}':
                TRY_DO(push_items(Kind::Dict, {}));
                return true;
            case 'l':
            case 0x91:
                return push_marked(Kind::List);
            case 't':
                return push_marked(Kind::Tuple);
            case 'd':
                return push_marked(Kind::Dict);
            case 0x85:
                return push_popped(Kind::Tuple, 1);
            case 0x86:
                return push_popped(Kind::Tuple, 2);
            case 0x87:
                return push_popped(Kind::Tuple, 3);
            case 'a': {
                TRY_ASSIGN(const ValueId item, pop());
                return extend_top({item}, Kind::List);
            }
            case 'e':
            case 0x90: {
                TRY_ASSIGN(const std::vector<ValueId> items, pop_to_mark());
                return extend_top(items, Kind::List);
            }
            case 'u': {
                TRY_ASSIGN(const std::vector<ValueId> items, pop_to_mark());
                return extend_top(items, Kind::Dict);
            }
            case 's': {
                TRY_ASSIGN(const ValueId value, pop());
                TRY_ASSIGN(const ValueId key, pop());
                return extend_top({key, value}, Kind::Dict);
            }
            default:
                return false;
        }
    }

    Result<std::uint64_t> take_key() {
        TRY_ASSIGN(const std::string line, reader_.take_line(kLineBytesMax));
        std::uint64_t key = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), key);
        if (error != std::errc() || end != line.data() + line.size())
            return fail(Errc::Corrupt, "pickle has a memo key that is none");
        return key;
    }

    Result<bool> step_stack(unsigned char opcode) {
        switch (opcode) {
            case 0x80: {
                TRY_ASSIGN(const auto version, reader_.take_integer<unsigned char>());
                if (version > kProtocolMax)
                    return fail(Errc::Corrupt,
                                fmt::format("pickle of the unknown protocol {}", version));
                return true;
            }
            case 0x95:
                TRY_DO(reader_.skip(8));
                return true;
            case '(':
                if (marks_.size() == kStackMax)
                    return fail(Errc::LimitExceeded, "pickle has too many marks");
                marks_.push_back(stack_.size());
                return true;
            case '0':
                if (stack_.size() > floor()) {
                    TRY_DO(pop());
                } else {
                    TRY_DO(pop_to_mark());
                }
                return true;
            case '1':
                TRY_DO(pop_to_mark());
                return true;
            case '2': {
                TRY_ASSIGN(const ValueId id, peek());
                TRY_DO(push_id(id));
                return true;
            }
            case 'q': {
                TRY_ASSIGN(const auto key, reader_.take_integer<std::uint8_t>());
                TRY_DO(remember(key));
                return true;
            }
            case 'r': {
                TRY_ASSIGN(const auto key, reader_.take_integer<std::uint32_t>());
                TRY_DO(remember(key));
                return true;
            }
            case 'p': {
                TRY_ASSIGN(const auto key, take_key());
                TRY_DO(remember(key));
                return true;
            }
            case 0x94:
                TRY_DO(remember(memo_.size()));
                return true;
            case 'h': {
                TRY_ASSIGN(const auto key, reader_.take_integer<std::uint8_t>());
                TRY_DO(recall(key));
                return true;
            }
            case 'j': {
                TRY_ASSIGN(const auto key, reader_.take_integer<std::uint32_t>());
                TRY_DO(recall(key));
                return true;
            }
            case 'g': {
                TRY_ASSIGN(const auto key, take_key());
                TRY_DO(recall(key));
                return true;
            }
            default:
                return false;
        }
    }

    Result<void> push_global(const std::string& module, const std::string& name) {
        if (module.size() > kLineBytesMax || name.size() > kLineBytesMax)
            return fail(Errc::LimitExceeded, "pickle names a global at more length than any has");
        std::string whole = module + " " + name;
        if (!is_known_global(whole) && pickle_.foreign_globals.size() < kForeignGlobalsMax)
            pickle_.foreign_globals.insert(module + "." + name);
        return push(PickleValue(Kind::Global, std::move(whole)));
    }

    // Never calls anything: the answer of a call is a value that rebuild_call knows how to
    // describe, or opaque.
    Result<bool> push_call(ValueId callee, ValueId arguments) {
        TRY_ASSIGN(Rebuilt rebuilt, rebuild_call(pickle_, callee, arguments));
        if (const auto* same = std::get_if<ValueId>(&rebuilt)) {
            TRY_DO(push_id(*same));
            return true;
        }
        auto& value = std::get<PickleValue>(rebuilt);
        copied_items_ += value.items.size();
        if (copied_items_ > kPickleValuesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle copies more than {} items", kPickleValuesMax));
        TRY_DO(push(std::move(value)));
        return true;
    }

    Result<bool> step_object(unsigned char opcode) {
        switch (opcode) {
            case 'c': {
                TRY_ASSIGN(const std::string module, reader_.take_line(kLineBytesMax));
                TRY_ASSIGN(const std::string name, reader_.take_line(kLineBytesMax));
                TRY_DO(push_global(module, name));
                return true;
            }
            case 0x93: {
                TRY_ASSIGN(const ValueId name, pop());
                TRY_ASSIGN(const ValueId module, pop());
                TRY_DO(push_global(pickle_.at(module).text, pickle_.at(name).text));
                return true;
            }
            case 'R':
            case 0x81: {
                TRY_ASSIGN(const ValueId arguments, pop());
                TRY_ASSIGN(const ValueId callee, pop());
                return push_call(callee, arguments);
            }
            case 0x92:
                TRY_DO(pop());
                TRY_DO(pop());
                TRY_DO(pop());
                TRY_DO(push(PickleValue(Kind::Opaque)));
                return true;
            case 'b':
                TRY_DO(pop());
                TRY_DO(peek());
                return true;  // state of an object: nothing of ours is in it
            case 'o':
                TRY_DO(pop_to_mark());
                TRY_DO(push(PickleValue(Kind::Opaque)));
                return true;
            case 'i': {
                TRY_ASSIGN(const std::string module, reader_.take_line(kLineBytesMax));
                TRY_ASSIGN(const std::string name, reader_.take_line(kLineBytesMax));
                if (pickle_.foreign_globals.size() < kForeignGlobalsMax)
                    pickle_.foreign_globals.insert(module + "." + name);
                TRY_DO(pop_to_mark());
                TRY_DO(push(PickleValue(Kind::Opaque)));
                return true;
            }
            case 'Q': {
                TRY_ASSIGN(const ValueId id, pop());
                TRY_ASSIGN(PickleValue storage, rebuild_storage(pickle_, id));
                TRY_DO(push(std::move(storage)));
                return true;
            }
            default:
                return false;
        }
    }

    ByteReader& reader_;
    Pickle pickle_;
    std::vector<ValueId> stack_;
    std::vector<std::size_t> marks_;
    std::unordered_map<std::uint64_t, ValueId> memo_;
    std::size_t copied_items_ = 0;  // by calls; everything else moves what the file spelled out
};

}  // namespace

Result<Pickle> scan_pickle(ByteReader& reader) {
    return Scanner(reader).scan();
}

}  // namespace plimsoll::modelfile
