// SPDX-License-Identifier: Apache-2.0
#include "quality/natural/symmetric_matrix.h"

#include "base/check.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plimsoll::quality {

namespace {

// A square matrix in the making of its eigenvalues, and the vector in their directions.
struct Rotated {
    std::size_t n;
    std::vector<double>& matrix;
    std::vector<double>& vector;

    [[nodiscard]] double& at(std::size_t row, std::size_t column) const {
        return matrix[row * n + column];
    }
};

// Turns the plane of p and q so that their element off the diagonal vanishes (Jacobi's rotation).
void rotate(const Rotated& m, std::size_t p, std::size_t q) {
    if (m.at(p, q) == 0) return;
    const double theta = (m.at(q, q) - m.at(p, p)) / (2 * m.at(p, q));
    const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
    const double c = 1 / std::sqrt(t * t + 1);
    const double s = t * c;
    for (std::size_t i = 0; i < m.n; ++i) {
        const double ip = m.at(i, p);
        const double iq = m.at(i, q);
        m.at(i, p) = c * ip - s * iq;
        m.at(i, q) = s * ip + c * iq;
    }
    for (std::size_t i = 0; i < m.n; ++i) {
        const double pi = m.at(p, i);
        const double qi = m.at(q, i);
        m.at(p, i) = c * pi - s * qi;
        m.at(q, i) = s * pi + c * qi;
    }
    const double vp = m.vector[p];
    const double vq = m.vector[q];
    m.vector[p] = c * vp - s * vq;
    m.vector[q] = s * vp + c * vq;
}

double off_diagonal(const Rotated& m) {
    double sum = 0;
    for (std::size_t p = 0; p < m.n; ++p)
        for (std::size_t q = p + 1; q < m.n; ++q) sum += m.at(p, q) * m.at(p, q);
    return sum;
}

}  // namespace

double inverse_form(std::vector<double> matrix, std::span<const double> vector) {
    const std::size_t n = vector.size();
    CHECK(matrix.size() == n * n);
    std::vector<double> turned(vector.begin(), vector.end());
    const Rotated m{n, matrix, turned};
    double all = 0;
    for (const double value : matrix) all += value * value;
    // Converges quadratically: a matrix of 36 takes 6 to 10 sweeps; 60 are an end for any other.
    for (int sweep = 0; sweep < 60 && off_diagonal(m) > 1e-28 * all; ++sweep)
        for (std::size_t p = 0; p < n; ++p)
            for (std::size_t q = p + 1; q < n; ++q) rotate(m, p, q);
    double largest = 0;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, m.at(i, i));
    // MATLAB's pinv: n times the rounding of the largest.
    const double least = static_cast<double>(n) * std::numeric_limits<double>::epsilon() * largest;
    double form = 0;
    for (std::size_t i = 0; i < n; ++i)
        if (m.at(i, i) > least) form += turned[i] * turned[i] / m.at(i, i);
    return form;
}

}  // namespace plimsoll::quality
