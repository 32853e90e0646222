// SPDX-License-Identifier: Apache-2.0
#include "workflow/expression.h"

#include "base/json.h"
#include "base/text.h"
#include "workflow/expression_functions.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace plimsoll::workflow {

namespace {

bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

using Unsure = std::optional<Scalar>;  // empty: not known

bool is_true(const Scalar& value) {
    if (const auto* number = std::get_if<double>(&value)) return *number != 0;
    return !std::get<std::string>(value).empty();
}

Unsure finite(double value) {
    return std::isfinite(value) ? Unsure(value) : Unsure();
}

// Reads and evaluates at once. What is not known stays so through every operator but those that
// do not look at it; a fault of syntax ends everything.
class Reader {
  public:
    Reader(std::string_view text, const ScalarLookup& lookup) : text_(text), lookup_(lookup) {}

    Unsure whole() {
        Unsure value = choice();
        skip_spaces();
        return faulty_ || at_ != text_.size() ? Unsure() : value;
    }

  private:
    // a if c else b
    Unsure choice() {
        if (++depth_ > kExpressionDepthMax) faulty_ = true;
        if (faulty_) return {};
        Unsure value = either();
        if (word("if")) {
            const Unsure condition = either();
            if (!word("else")) faulty_ = true;
            Unsure other = unless(condition && is_true(*condition), [&] { return choice(); });
            if (!condition)
                value.reset();
            else if (!is_true(*condition))
                value = std::move(other);
        }
        --depth_;
        return value;
    }

    Unsure either() {
        Unsure left = both();
        while (word("or")) {
            Unsure right = unless(left && is_true(*left), [&] { return both(); });
            if (left && !is_true(*left)) left = std::move(right);
        }
        return left;
    }

    Unsure both() {
        Unsure left = negation();
        while (word("and")) {
            Unsure right = unless(left && !is_true(*left), [&] { return negation(); });
            if (left && is_true(*left)) left = std::move(right);
        }
        return left;
    }

    Unsure negation() {
        bool negated = false;
        bool any = false;
        while (word("not")) {
            negated = !negated;
            any = true;
        }
        Unsure value = comparison();
        if (!any || !value) return value;
        return Scalar(is_true(*value) != negated ? 1.0 : 0.0);
    }

    static Unsure compare(std::string_view how, const Scalar& a, const Scalar& b) {
        const auto* x = std::get_if<double>(&a);
        const auto* y = std::get_if<double>(&b);
        if ((x == nullptr) != (y == nullptr)) {  // as Python: of two kinds, never equal
            if (how == "==") return Scalar(0.0);
            if (how == "!=") return Scalar(1.0);
            return {};
        }
        const auto order =
            x != nullptr
                ? *x <=> *y
                : std::partial_ordering(std::get<std::string>(a) <=> std::get<std::string>(b));
        bool holds = false;
        if (how == "==") holds = order == 0;
        if (how == "!=") holds = order != 0;
        if (how == "<") holds = order < 0;
        if (how == "<=") holds = order <= 0;
        if (how == ">") holds = order > 0;
        if (how == ">=") holds = order >= 0;
        return Scalar(holds ? 1.0 : 0.0);
    }

    // a < b < c is a < b and b < c.
    Unsure comparison() {
        Unsure left = sum();
        Unsure result = left;
        bool first = true;
        for (;;) {
            const std::string_view how = operator_of({"==", "!=", "<=", ">=", "<", ">"});
            if (how.empty()) return result;
            Unsure right = sum();
            const Unsure holds = left && right ? compare(how, *left, *right) : Unsure();
            if (first || (result && is_true(*result))) result = holds;
            first = false;
            left = std::move(right);
        }
    }

    static Unsure calculate(std::string_view how, const Unsure& left, const Unsure& right) {
        if (!left || !right) return {};
        if (how == "+") {
            const auto* a = std::get_if<std::string>(&*left);
            const auto* b = std::get_if<std::string>(&*right);
            if (a != nullptr && b != nullptr)
                return a->size() + b->size() > kScalarBytesMax ? Unsure() : Scalar(*a + *b);
        }
        const auto a = number_of(*left);
        const auto b = number_of(*right);
        if (!a || !b) return {};
        if (how == "+") return finite(*a + *b);
        if (how == "-") return finite(*a - *b);
        if (how == "*") return finite(*a * *b);
        if (how == "**") return finite(std::pow(*a, *b));
        if (*b == 0) return {};
        if (how == "/") return finite(*a / *b);
        const double quotient = std::floor(*a / *b);
        if (how == "//") return finite(quotient);
        return finite(*a - quotient * *b);  // %: of the divisor's sign
    }

    Unsure sum() {
        Unsure left = product();
        for (;;) {
            const std::string_view how = operator_of({"+", "-"});
            if (how.empty()) return left;
            left = calculate(how, left, product());
        }
    }

    Unsure product() {
        Unsure left = sign();
        for (;;) {
            if (ahead("**")) return left;
            const std::string_view how = operator_of({"//", "*", "/", "%"});
            if (how.empty()) return left;
            left = calculate(how, left, sign());
        }
    }

    Unsure sign() {
        bool minus = false;
        for (;;) {
            const std::string_view how = operator_of({"+", "-"});
            if (how.empty()) break;
            minus = minus != (how == "-");
        }
        const Unsure value = power();
        return minus ? calculate("-", Scalar(0.0), value) : value;
    }

    Unsure power() {
        if (++depth_ > kExpressionDepthMax) faulty_ = true;
        if (faulty_) return {};
        Unsure base = atom();
        if (!operator_of({"**"}).empty()) base = calculate("**", base, sign());
        --depth_;
        return base;
    }

    Unsure atom() {
        skip_spaces();
        if (at_ >= text_.size()) return fault();
        const char c = text_[at_];
        if (c == '(') {
            ++at_;
            Unsure value = choice();
            return take(')') ? value : fault();
        }
        if (c == '\'' || c == '"') return quoted(c);
        if (is_digit(c) || c == '.') return literal();
        if (is_name_start(c)) return named();
        return fault();
    }

    Unsure quoted(char mark) {
        const std::size_t end = text_.find(mark, at_ + 1);
        if (end == std::string_view::npos) return fault();
        std::string value(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return Scalar(std::move(value));
    }

    Unsure literal() {
        std::size_t end = at_;
        while (end < text_.size() && (is_digit(text_[end]) || text_[end] == '.')) ++end;
        if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
            std::size_t exponent = end + 1;
            if (exponent < text_.size() && (text_[exponent] == '-' || text_[exponent] == '+'))
                ++exponent;
            if (exponent < text_.size() && is_digit(text_[exponent])) {
                while (exponent < text_.size() && is_digit(text_[exponent])) ++exponent;
                end = exponent;
            }
        }
        const auto value = parse_number(text_.substr(at_, end - at_));
        at_ = end;
        return value ? finite(*value) : fault();
    }

    Unsure named() {
        std::size_t end = at_;
        while (end < text_.size() &&
               (is_name_start(text_[end]) || is_digit(text_[end]) || text_[end] == '.'))
            ++end;
        const std::string_view name = text_.substr(at_, end - at_);
        at_ = end;
        if (take('(')) return call(name);
        if (name == "True" || name == "true") return Scalar(1.0);
        if (name == "False" || name == "false") return Scalar(0.0);
        constexpr double kPi = 3.14159265358979323846;
        if (name == "pi") return Scalar(kPi);
        return idle_ > 0 ? Unsure() : lookup_(name);
    }

    Unsure call(std::string_view name) {
        constexpr std::size_t kArgumentsMax = 64;  // chosen
        std::vector<Unsure> arguments;
        if (!take(')')) do {
                arguments.push_back(choice());
                if (faulty_ || arguments.size() > kArgumentsMax) return fault();
                if (take(')')) return idle_ > 0 ? Unsure() : call_function(name, arguments);
            } while (take(','));
        else
            return fault();  // no function takes nothing
        return fault();
    }

    // Reads on; without looking anything up where nobody asks for the value.
    template <class Read>
    Unsure unless(bool idle, Read read) {
        if (idle) ++idle_;
        Unsure value = read();
        if (idle) --idle_;
        return value;
    }

    void skip_spaces() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' ||
                                      text_[at_] == '\n' || text_[at_] == '\r'))
            ++at_;
    }
    bool ahead(std::string_view what) {
        skip_spaces();
        return text_.substr(at_).starts_with(what);
    }
    bool take(char c) {
        skip_spaces();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    // A keyword that does not go on as a name.
    bool word(std::string_view what) {
        if (faulty_ || !ahead(what)) return false;
        const std::size_t end = at_ + what.size();
        if (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) return false;
        at_ = end;
        return true;
    }
    std::string_view operator_of(std::initializer_list<std::string_view> operators) {
        if (faulty_) return {};
        for (const std::string_view how : operators)
            if (ahead(how)) {
                at_ += how.size();
                return how;
            }
        return {};
    }
    Unsure fault() {
        faulty_ = true;
        return {};
    }

    std::string_view text_;
    const ScalarLookup& lookup_;
    std::size_t at_ = 0;
    int depth_ = 0;
    int idle_ = 0;
    bool faulty_ = false;
};

}  // namespace

std::optional<Scalar> evaluate_expression(std::string_view text, const ScalarLookup& lookup) {
    if (text.size() > kExpressionBytesMax) return std::nullopt;
    return Reader(text, lookup).whole();
}

std::optional<double> number_of(const Scalar& scalar) {
    if (const auto* number = std::get_if<double>(&scalar)) return *number;
    return parse_number(trim(std::get<std::string>(scalar)));
}

}  // namespace plimsoll::workflow
