//go:build nochunking

package main

import (
	"errors"

	"github.com/apache/pulsar-client-go/pulsar"
)

func enableChunking(*pulsar.ProducerOptions) { fail("chunking", errors.New("this version has none")) }
