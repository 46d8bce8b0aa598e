// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// serveNames answers Pods that look for a Service, by its address as the API has
// it. There is no other name: Pods of this cluster reach nothing else.
func (c *controlPlane) serveNames(ctx context.Context) error {
	client, err := c.adminClient()
	if err != nil {
		return err
	}
	socket, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", net.JoinHostPort(nodeAddress, "53"))
	if err != nil {
		return err
	}
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := socket.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := c.answer(client, query[:n]); err == nil {
				_, _ = socket.WriteTo(answer, from) // who got none asks again
			}
		}
	}()
	return nil
}

// answer is the response to a query; an error means that it was none.
func (c *controlPlane) answer(client *http.Client, query []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	address, found := c.serviceAddress(client, question.Name.String())
	header = dnsmessage.Header{
		ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
	}
	if !found {
		header.RCode = dnsmessage.RCodeNameError
	}
	builder := dnsmessage.NewBuilder(nil, header)
	if err := builder.StartQuestions(); err != nil {
		return nil, err
	}
	if err := builder.Question(question); err != nil {
		return nil, err
	}
	if err := builder.StartAnswers(); err != nil {
		return nil, err
	}
	if found && question.Type == dnsmessage.TypeA {
		resource := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 5}
		if err := builder.AResource(resource, dnsmessage.AResource{A: address}); err != nil {
			return nil, err
		}
	}
	return builder.Finish()
}

func (c *controlPlane) serviceAddress(client *http.Client, name string) (address [4]byte, found bool) {
	name, ours := strings.CutSuffix(strings.ToLower(name), ".svc.cluster.local.")
	service, namespace, whole := strings.Cut(name, ".")
	if !ours || !whole || strings.ContainsAny(namespace, "./") {
		return address, false
	}
	var object struct{ Spec struct{ ClusterIP string } }
	if !c.get(context.Background(), client, fmt.Sprintf("/api/v1/namespaces/%s/services/%s", namespace, service), &object) {
		return address, false
	}
	ip, err := netip.ParseAddr(object.Spec.ClusterIP)
	if err != nil || !ip.Is4() {
		return address, false
	}
	return ip.As4(), true
}
