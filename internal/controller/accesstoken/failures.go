// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// failures counts failed tries in a row, by the AccessToken's UID. It is lost
// with the process, which then starts with short pauses again.
type failures struct {
	mu    sync.Mutex
	byUID map[types.UID]failure
}

type failure struct {
	count  int
	reason string
}

// add counts one more and reports whether its reason is another than before.
func (f *failures) add(uid types.UID, reason string) (count int, news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byUID == nil {
		f.byUID = map[types.UID]failure{}
	}
	before := f.byUID[uid]
	f.byUID[uid] = failure{count: before.count + 1, reason: reason}
	return before.count + 1, before.reason != reason
}

func (f *failures) forget(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byUID, uid)
}
