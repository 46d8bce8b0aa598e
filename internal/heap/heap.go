// SPDX-License-Identifier: Apache-2.0

// Package heap spares a program with little in memory most of its collections. The
// runtime collects as soon as the heap has grown by a part of what is alive: with
// little alive that is often, and each time what is alive is read again.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// usual is the runtime's own GOGC.
	usual = 100
	// least is the heap that the runtime does not collect at the usual GOGC; it grows
	// with GOGC.
	least = 4 << 20
)

// KeepFloor lets the heap grow to so many bytes before it is collected, and a heap
// with more than half of that alive by as much as is alive, as usual. GOMEMLIMIT
// holds all the same. Where GOGC is set, it does nothing.
func KeepFloor(bytes uint64) {
	if os.Getenv("GOGC") == "" {
		adjust(bytes)
	}
}

// collected is unreachable from the beginning: the runtime finds that in each
// collection. It is no smaller, or it would share its memory with others.
type collected struct{ _ [16]byte }

// adjust sets GOGC for what was alive in the last collection, and does so again after
// the next.
func adjust(floor uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	debug.SetGCPercent(Percent(floor, samples[0].Value.Uint64(), samples[1].Value.Uint64()+samples[2].Value.Uint64()))
	runtime.AddCleanup(&collected{}, adjust, floor)
}

// Percent is the GOGC at which the runtime collects a heap of floor bytes, of which
// some are alive. Roots are the bytes of stacks and globals, which count as alive
// when the runtime sets its goal:
// https://go.dev/doc/gc-guide#GOGC
func Percent(floor, alive, roots uint64) int {
	most := max(usual, floor*100/least)
	if alive >= floor {
		return usual
	}
	return int(min(max(usual, (floor-alive)*100/max(1, alive+roots)), most))
}
