// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// benchmark is one that can be chosen.
type benchmark struct {
	// name is that of the function, without the word Benchmark.
	name string
	// folder has the package that declares it.
	folder string
	// takes is how long it takes, about.
	takes string
	// usual ones are run when none is chosen.
	usual    bool
	measures string
}

const speed, campaign = "./test/speed", "./test/campaign"

var benchmarks = []benchmark{
	{"ClientCredentials", speed, "1.5 min", true, "client_credentials, form and JSON"},
	{"Introspection", speed, "2 min", true, "introspection of JWTs and of opaque tokens"},
	{"Refresh", speed, "4 min", true, "refresh_token on PostgreSQL and SQLite, at 1, 8 and 64 connections"},
	{"JWTBearer", speed, "1.5 min", true, "JWT bearer with a jti that counts once"},
	{"IDToken", speed, "1.5 min", true, "answers with an RS256 id token"},
	{"Flood", speed, "1 min", true, "what others get while somebody tries passwords"},
	{"Apps", speed, "4 min", true, "client_credentials, introspection and a page as apps grow to SPEED_APPS (10,000)"},
	{"Families", speed, "6 min", true, "refresh_token, introspection and others as families grow to SPEED_FAMILIES (1,000,000)"},
	{"Revocations", speed, "1 min", true, "introspection as revoked tokens grow to SPEED_REVOCATIONS (100,000)"},
	{"Footprint", speed, "1.5 min", true, "memory, before and after SPEED_TOKENS tokens (200,000), start and size of the token server"},
	{"Refresher", speed, "2 min", true, "memory, CPU and size of the refresher"},
	{"Operator", campaign, "4 min", true, "CAMPAIGN_APPS (1,000) ConnectedApps from apply to Ready"},
	{"Scale", campaign, "1 h", false, "a manager with 100, 1,000 and 10,000 ConnectedApps, or CAMPAIGN_APPS"},
	{"Tokens", campaign, "9 min", false, "TOKENS (500) AccessTokens kept fresh; 10,000 take 2 hours"},
}

// choose returns the benchmarks of these names, in the order of the list.
func choose(names []string) ([]benchmark, error) {
	for _, name := range names {
		if !slices.ContainsFunc(benchmarks, func(b benchmark) bool { return b.name == name }) {
			return nil, fmt.Errorf("there is no benchmark %s; there are %s", name, strings.Join(known(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(benchmarks), func(b benchmark) bool {
		if len(names) == 0 {
			return !b.usual
		}
		return !slices.Contains(names, b.name)
	}), nil
}

func known() (names []string) {
	for _, b := range benchmarks {
		names = append(names, b.name)
	}
	return names
}

// group are benchmarks of one package, which run in one process.
type group struct {
	folder string
	names  []string
}

func grouped(all []benchmark) (groups []group) {
	for _, b := range all {
		if n := len(groups); n == 0 || groups[n-1].folder != b.folder {
			groups = append(groups, group{folder: b.folder})
		}
		last := &groups[len(groups)-1]
		last.names = append(last.names, b.name)
	}
	return groups
}
