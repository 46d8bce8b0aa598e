// SPDX-License-Identifier: Apache-2.0

// Package floods floods the token server, as a built binary with the memory that
// config/tokenserver gives it, while honest clients go on asking for tokens. A
// flood begins and ends again and again; what the honest get in its presence is
// compared with what they get without it, in the same run. Times are never judged,
// and the share that is asked for is far below the one that make bench measures,
// so that a busy machine fails nothing.
package floods
