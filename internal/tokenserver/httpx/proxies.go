// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose X-Forwarded-For is believed.
type Proxies []netip.Prefix

// Of returns where a request really came from: the nearest address that is not a trusted proxy's. It is invalid
// when the request did not come through one, or when the header does not tell:
// whoever connects directly may be anything that shares an address.
func (p Proxies) Of(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.trusted(peer.Addr()) {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	// Each proxy appends whom it saw: the right end is what ours wrote, the left
	// end is what anybody may have sent.
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := hopAddress(strings.TrimSpace(hops[i]))
		if !ok {
			return netip.Addr{}
		}
		if !p.trusted(hop) {
			return hop
		}
	}
	return netip.Addr{}
}

// hopAddress reads an address, of which some proxies also tell the port.
func hopAddress(hop string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(hop); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	// In brackets without a port, as RFC 7239 section 6 writes it.
	inner, opens := strings.CutPrefix(hop, "[")
	inner, closes := strings.CutSuffix(inner, "]")
	address, err := netip.ParseAddr(inner)
	return address.Unmap().WithZone(""), opens && closes && err == nil && address.Is6()
}

func (p Proxies) trusted(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
