//go:build !nochunking

package main

import "github.com/apache/pulsar-client-go/pulsar"

func enableChunking(o *pulsar.ProducerOptions) { o.EnableChunking = true }
