// SPDX-License-Identifier: Apache-2.0

package plugin

import "fmt"

// Exit is the end of a command that has given its answer, and whose exit status
// says more than that it did.
type Exit struct {
	// Status is that of the process.
	Status int
	// Err is what to say beside the answer; nil: nothing.
	Err error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }
