// SPDX-License-Identifier: Apache-2.0

// Package campaign holds the tests that look at the operator from outside, as
// built binaries between an API server and a token server: the campaign of
// kills, the search for secrets in all that the run left behind, and the
// benchmarks of a thousand apps and more.
//
// The tests run a short campaign, make campaign the whole one: 500 kills over 200
// apps. A run prints its seed. The environment changes it: CAMPAIGN_SEED repeats the
// choices of a run, CAMPAIGN_KILLS and CAMPAIGN_APPS make it longer or shorter,
// CAMPAIGN_TRACES keeps what the run left behind in a file.
package campaign
