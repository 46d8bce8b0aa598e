// SPDX-License-Identifier: Apache-2.0

// Command pause does nothing until it is told to end. It is what holds the
// namespaces of a Pod, whose containers come and go.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	<-told
}
