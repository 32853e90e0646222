// SPDX-License-Identifier: Apache-2.0
#include "modelfile/pickle.h"

#include "modelfile/pickle_op.h"
#include "modelfile/pickle_stack.h"
#include "modelfile/torch_rebuild.h"
#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>
#include <variant>

namespace plimsoll::modelfile {
namespace {

using Kind = PickleValue::Kind;

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
            if (opcode == static_cast<unsigned char>(Op::Stop)) {
                TRY_ASSIGN(stack_.pickle().top, stack_.pop());
                return std::move(stack_.pickle());
            }
            TRY_DO(step(opcode));
        }
    }

  private:
    // "This opcode was mine", or its error.
    static Result<bool> done(Result<void> result) {
        if (!result) return std::unexpected(std::move(result).error());
        return true;
    }
    template <class T>
    static Result<void> drop_result(Result<T> result) {
        if (!result) return std::unexpected(std::move(result).error());
        return {};
    }

    Result<void> step(unsigned char opcode) {
        for (const auto group :
             {&Scanner::step_number, &Scanner::step_text, &Scanner::step_container,
              &Scanner::step_stack, &Scanner::step_object}) {
            TRY_ASSIGN(const bool is_done, (this->*group)(static_cast<Op>(opcode)));
            if (is_done) return {};
        }
        return fail(Errc::Corrupt, fmt::format("pickle has the unknown opcode {:#04x} at byte {}",
                                               opcode, reader_.position() - 1));
    }

    template <class Integer>
    Result<void> push_integer() {
        TRY_ASSIGN(const auto number, reader_.take_integer<Integer>());
        return stack_.push(PickleValue(Kind::Integer, number));
    }

    // Two's complement of any length; beyond 63 bits nothing of ours needs the value.
    template <class Length>
    Result<void> push_long() {
        TRY_ASSIGN(const std::uint64_t length, reader_.take_integer<Length>());
        TRY_ASSIGN(const std::string_view bytes, reader_.take(length));
        if (length > 8) return stack_.push(PickleValue(Kind::Opaque));
        std::uint64_t value = length > 0 && (static_cast<unsigned char>(bytes.back()) & 0x80U) != 0
                                  ? ~std::uint64_t{0}
                                  : 0;
        for (std::size_t i = 0; i < length; ++i) {
            value &= ~(std::uint64_t{0xff} << (8 * i));
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        }
        return stack_.push(PickleValue(Kind::Integer, static_cast<std::int64_t>(value)));
    }

    Result<void> push_decimal(Op op) {
        TRY_ASSIGN(const std::string line, reader_.take_line(kLineBytesMax));
        if (op == Op::Int && (line == "00" || line == "01"))
            return stack_.push(PickleValue(Kind::Bool, line == "01"));
        std::string_view digits = line;
        if (op == Op::Long && digits.ends_with('L')) digits.remove_suffix(1);
        std::int64_t value = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc::invalid_argument || end != digits.data() + digits.size())
            return fail(Errc::Corrupt, "pickle has a number that is none");
        // A seed of 64 bits, say: nothing of ours needs the value.
        if (error != std::errc()) return stack_.push(PickleValue(Kind::Opaque));
        return stack_.push(PickleValue(Kind::Integer, value));
    }

    Result<bool> step_number(Op op) {
        switch (op) {
            case Op::None:
                return done(stack_.push(PickleValue(Kind::None)));
            case Op::NewTrue:
                return done(stack_.push(PickleValue(Kind::Bool, 1)));
            case Op::NewFalse:
                return done(stack_.push(PickleValue(Kind::Bool, 0)));
            case Op::Int:
            case Op::Long:
                return done(push_decimal(op));
            case Op::BinInt:
                return done(push_integer<std::int32_t>());
            case Op::BinInt1:
                return done(push_integer<std::uint8_t>());
            case Op::BinInt2:
                return done(push_integer<std::uint16_t>());
            case Op::Long1:
                return done(push_long<std::uint8_t>());
            case Op::Long4:
                return done(push_long<std::uint32_t>());
            case Op::Float:
                TRY_DO(reader_.take_line(kLineBytesMax));
                return done(stack_.push(PickleValue(Kind::Real)));
            case Op::BinFloat:
                TRY_DO(reader_.skip(8));
                return done(stack_.push(PickleValue(Kind::Real)));
            default:
                return false;
        }
    }

    template <class Length>
    Result<void> push_counted(Kind kind) {
        TRY_ASSIGN(const auto length, reader_.take_integer<Length>());
        TRY_ASSIGN(const std::string_view bytes, reader_.take(length));
        return stack_.push(PickleValue(kind, std::string(bytes)));
    }

    Result<void> push_line(Op op) {
        TRY_ASSIGN(const std::string line, reader_.take_line(kLineBytesMax));
        const bool is_quoted = op == Op::String && line.size() >= 2 && line.front() == line.back();
        return stack_.push(
            PickleValue(Kind::Text, is_quoted ? line.substr(1, line.size() - 2) : line));
    }

    Result<bool> step_text(Op op) {
        switch (op) {
            case Op::String:
            case Op::Unicode:
                return done(push_line(op));
            case Op::BinString:
            case Op::BinUnicode:
                return done(push_counted<std::uint32_t>(Kind::Text));
            case Op::ShortBinString:
            case Op::ShortBinUnicode:
                return done(push_counted<std::uint8_t>(Kind::Text));
            case Op::BinUnicode8:
                return done(push_counted<std::uint64_t>(Kind::Text));
            case Op::BinBytes:
                return done(push_counted<std::uint32_t>(Kind::Bytes));
            case Op::ShortBinBytes:
                return done(push_counted<std::uint8_t>(Kind::Bytes));
            case Op::BinBytes8:
            case Op::ByteArray8:
                return done(push_counted<std::uint64_t>(Kind::Bytes));
            default:
                return false;
        }
    }

    Result<void> push_popped(Kind kind, std::size_t count) {
        std::vector<ValueId> items(count);
        for (auto item = items.rbegin(); item != items.rend(); ++item) {
            TRY_ASSIGN(*item, stack_.pop());
        }
        return stack_.push(PickleValue(kind, std::move(items)));
    }

    Result<void> push_marked(Kind kind) {
        TRY_ASSIGN(std::vector<ValueId> items, stack_.pop_to_mark());
        if (kind == Kind::Dict && items.size() % 2 != 0)
            return fail(Errc::Corrupt, "pickle has a key without a value");
        return stack_.push(PickleValue(kind, std::move(items)));
    }

    // Puts items into the list or dictionary on top of the stack; into anything opaque they vanish.
    Result<void> extend_top(Kind kind, const std::vector<ValueId>& items) {
        TRY_ASSIGN(const ValueId id, stack_.peek());
        PickleValue& target = stack_.pickle().values[id];
        if (target.kind == Kind::Opaque) return {};
        if (target.kind != kind || (kind == Kind::Dict && items.size() % 2 != 0))
            return fail(Errc::Corrupt, "pickle puts items into what cannot hold them");
        target.items.insert(target.items.end(), items.begin(), items.end());
        return {};
    }

    Result<void> extend_with_popped(Kind kind, std::size_t count) {
        std::vector<ValueId> items(count);
        for (auto item = items.rbegin(); item != items.rend(); ++item) {
            TRY_ASSIGN(*item, stack_.pop());
        }
        return extend_top(kind, items);
    }

    Result<void> extend_with_marked(Kind kind) {
        TRY_ASSIGN(const std::vector<ValueId> items, stack_.pop_to_mark());
        return extend_top(kind, items);
    }

    Result<bool> step_container(Op op) {
        switch (op) {
            case Op::EmptyList:
            case Op::EmptySet:
                return done(stack_.push(PickleValue(Kind::List)));
            case Op::EmptyTuple:
                return done(stack_.push(PickleValue(Kind::Tuple)));
            case Op::EmptyDict:
                return done(stack_.push(PickleValue(Kind::Dict)));
            case Op::List:
            case Op::FrozenSet:
                return done(push_marked(Kind::List));
            case Op::Tuple:
                return done(push_marked(Kind::Tuple));
            case Op::Dict:
                return done(push_marked(Kind::Dict));
            case Op::Tuple1:
                return done(push_popped(Kind::Tuple, 1));
            case Op::Tuple2:
                return done(push_popped(Kind::Tuple, 2));
            case Op::Tuple3:
                return done(push_popped(Kind::Tuple, 3));
            case Op::Append:
                return done(extend_with_popped(Kind::List, 1));
            case Op::SetItem:
                return done(extend_with_popped(Kind::Dict, 2));
            case Op::Appends:
            case Op::AddItems:
                return done(extend_with_marked(Kind::List));
            case Op::SetItems:
                return done(extend_with_marked(Kind::Dict));
            default:
                return false;
        }
    }

    template <class Integer>
    Result<void> remember() {
        TRY_ASSIGN(const std::uint64_t key, reader_.take_integer<Integer>());
        return stack_.remember(key);
    }
    template <class Integer>
    Result<void> recall() {
        TRY_ASSIGN(const std::uint64_t key, reader_.take_integer<Integer>());
        return stack_.recall(key);
    }

    Result<std::uint64_t> take_key() {
        TRY_ASSIGN(const std::string line, reader_.take_line(kLineBytesMax));
        std::uint64_t key = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), key);
        if (error != std::errc() || end != line.data() + line.size())
            return fail(Errc::Corrupt, "pickle has a memo key that is none");
        return key;
    }

    Result<void> check_protocol() {
        TRY_ASSIGN(const auto version, reader_.take_integer<unsigned char>());
        if (version > kProtocolMax)
            return fail(Errc::Corrupt, fmt::format("pickle of the unknown protocol {}", version));
        return {};
    }

    // Python's POP takes a mark when one lies on top.
    Result<void> drop() {
        if (!stack_.is_at_floor()) return drop_result(stack_.pop());
        return drop_result(stack_.pop_to_mark());
    }

    Result<bool> step_stack(Op op) {
        switch (op) {
            case Op::Proto:
                return done(check_protocol());
            case Op::Frame:
                return done(reader_.skip(8));
            case Op::Mark:
                return done(stack_.mark());
            case Op::Pop:
                return done(drop());
            case Op::PopMark:
                return done(drop_result(stack_.pop_to_mark()));
            case Op::Dup: {
                TRY_ASSIGN(const ValueId id, stack_.peek());
                return done(stack_.push_id(id));
            }
            case Op::Put: {
                TRY_ASSIGN(const std::uint64_t key, take_key());
                return done(stack_.remember(key));
            }
            case Op::BinPut:
                return done(remember<std::uint8_t>());
            case Op::LongBinPut:
                return done(remember<std::uint32_t>());
            case Op::Memoize:
                return done(stack_.remember_next());
            case Op::Get: {
                TRY_ASSIGN(const std::uint64_t key, take_key());
                return done(stack_.recall(key));
            }
            case Op::BinGet:
                return done(recall<std::uint8_t>());
            case Op::LongBinGet:
                return done(recall<std::uint32_t>());
            default:
                return false;
        }
    }

    void note_global(const std::string& module, const std::string& name) {
        if (stack_.pickle().foreign_globals.size() < kForeignGlobalsMax)
            stack_.pickle().foreign_globals.insert(module + "." + name);
    }

    Result<void> push_global(const std::string& module, const std::string& name) {
        if (module.size() > kLineBytesMax || name.size() > kLineBytesMax)
            return fail(Errc::LimitExceeded, "pickle names a global at more length than any has");
        std::string whole = module + " " + name;
        if (!is_known_global(whole)) note_global(module, name);
        return stack_.push(PickleValue(Kind::Global, std::move(whole)));
    }

    Result<void> push_named_global() {
        TRY_ASSIGN(const std::string module, reader_.take_line(kLineBytesMax));
        TRY_ASSIGN(const std::string name, reader_.take_line(kLineBytesMax));
        return push_global(module, name);
    }

    Result<void> push_stacked_global() {
        TRY_ASSIGN(const ValueId name, stack_.pop());
        TRY_ASSIGN(const ValueId module, stack_.pop());
        return push_global(stack_.pickle().at(module).text, stack_.pickle().at(name).text);
    }

    // Never calls anything: the answer of a call is a value that rebuild_call knows how to
    // describe, or opaque.
    Result<void> push_call() {
        TRY_ASSIGN(const ValueId arguments, stack_.pop());
        TRY_ASSIGN(const ValueId callee, stack_.pop());
        TRY_ASSIGN(Rebuilt rebuilt, rebuild_call(stack_.pickle(), callee, arguments));
        if (const auto* same = std::get_if<ValueId>(&rebuilt)) {
            return stack_.push_id(*same);
        }
        auto& value = std::get<PickleValue>(rebuilt);
        copied_items_ += value.items.size();
        if (copied_items_ > kPickleValuesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("pickle copies more than {} items", kPickleValuesMax));
        return stack_.push(std::move(value));
    }

    Result<void> push_instance() {
        TRY_ASSIGN(const std::string module, reader_.take_line(kLineBytesMax));
        TRY_ASSIGN(const std::string name, reader_.take_line(kLineBytesMax));
        note_global(module, name);
        TRY_DO(stack_.pop_to_mark());
        return stack_.push(PickleValue(Kind::Opaque));
    }

    Result<void> push_storage() {
        TRY_ASSIGN(const ValueId id, stack_.pop());
        TRY_ASSIGN(PickleValue storage, rebuild_storage(stack_.pickle(), id));
        return stack_.push(std::move(storage));
    }

    Result<bool> step_object(Op op) {
        switch (op) {
            case Op::Global:
                return done(push_named_global());
            case Op::StackGlobal:
                return done(push_stacked_global());
            case Op::Reduce:
            case Op::NewObj:
                return done(push_call());
            case Op::NewObjEx:
                for (int i = 0; i < 3; ++i) TRY_DO(stack_.pop());
                return done(stack_.push(PickleValue(Kind::Opaque)));
            case Op::Build:
                TRY_DO(stack_.pop());
                return done(
                    drop_result(stack_.peek()));  // an object's state: nothing of ours is in it
            case Op::Obj:
                TRY_DO(stack_.pop_to_mark());
                return done(stack_.push(PickleValue(Kind::Opaque)));
            case Op::Inst:
                return done(push_instance());
            case Op::BinPersId:
                return done(push_storage());
            default:
                return false;
        }
    }

    ByteReader& reader_;
    PickleStack stack_;
    std::size_t copied_items_ = 0;  // by calls; everything else moves what the file spelled out
};

}  // namespace

Result<Pickle> scan_pickle(ByteReader& reader) {
    return Scanner(reader).scan();
}

}  // namespace plimsoll::modelfile
