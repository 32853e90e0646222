// SPDX-License-Identifier: Apache-2.0
//
// One open history file: statements that are prepared once, transactions, and the one place where
// exceptions of SQLiteCpp become errors. Only the sqlite_* sources of this folder include this.
//
// Threads: one at a time.
#pragma once
#include "base/error.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace plimsoll::history {

// What a code of SQLite means to the person who has to do something about it.
[[nodiscard]] Error explain(const SQLite::Exception& thrown, const std::string& file);

// What SQLite says, without the tables' definitions that it may quote.
[[nodiscard]] std::string one_line(std::string_view text);

// The text of an error inside a row, so that it passes as an exception through code that throws
// others.
[[noreturn]] void throw_corrupt(const std::string& what);

// A prepared statement in use: reset at the end, so that it holds no read transaction open.
class Prepared {
  public:
    explicit Prepared(SQLite::Statement& statement) : statement_(&statement) {}
    ~Prepared() { statement_->tryReset(); }
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;
    SQLite::Statement* operator->() { return statement_; }
    SQLite::Statement& operator*() { return *statement_; }

  private:
    SQLite::Statement* statement_;
};

class Connection {
  public:
    Connection(std::string path, const std::string& address, int flags, int busy_timeout_ms)
        : file(std::move(path)), database(address, flags, busy_timeout_ms) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    std::string file;
    SQLite::Database database;
    bool met_damage = false;

    // Prepared once, without values. The same text must not be in use twice at the same time.
    [[nodiscard]] Prepared prepared(const std::string& sql);

    // `names`: what a text is called by in the tables; 0 where a read finds none.
    [[nodiscard]] std::int64_t find_name(std::string_view name);
    [[nodiscard]] std::int64_t take_name(std::string_view name);  // within a write
    [[nodiscard]] std::string name_of(std::int64_t id);

    template <class Action>
    auto guarded(Action&& action) -> std::invoke_result_t<Action> {
        try {
            return std::forward<Action>(action)();
        } catch (const SQLite::Exception& thrown) {
            names_.clear();  // some may have been taken in what was rolled back
            met_damage = met_damage || is_damage(thrown);
            return std::unexpected(explain(thrown, file));
        }
    }
    // Every statement of ours is right: one that SQLite does not understand met other tables.
    [[nodiscard]] bool is_damage(const SQLite::Exception& thrown);
    // All or nothing, and what it reads is of one moment.
    template <class Action>
    auto within_write(Action&& action) -> std::invoke_result_t<Action> {
        return guarded([&]() -> std::invoke_result_t<Action> {
            SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
            auto result = action();
            if (result)
                transaction.commit();
            else
                names_.clear();
            return result;
        });
    }
    template <class Action>
    auto within_read(Action&& action) -> std::invoke_result_t<Action> {
        return guarded([&]() -> std::invoke_result_t<Action> {
            const SQLite::Transaction transaction(database);
            return action();
        });
    }

  private:
    std::unordered_map<std::string, std::unique_ptr<SQLite::Statement>> prepared_;
    std::unordered_map<std::string, std::int64_t> names_;
    std::unordered_map<std::int64_t, std::string> names_by_id_;
};

}  // namespace plimsoll::history
