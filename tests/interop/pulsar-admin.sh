#!/usr/bin/env bash
# The stock pulsar-admin of Apache Pulsar against this broker: the calls that an administrator of topics and publish
# limits makes. Its jars come from Maven Central and are kept in build/pulsar-tools. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.."
tools_version=4.0.8
tidegate=${TIDEGATE:-build/tidegate}
dir=$PWD/build/pulsar-tools/$tools_version

for program in java mvn; do
    if ! command -v "$program" >/dev/null; then
        echo "pulsar-admin: skipped, there is no $program (make setup installs it)"
        echo "0 passed, 0 failed"
        exit 0
    fi
done

if [ ! -s "$dir/classpath" ]; then
    mkdir -p "$dir"
    cat >"$dir/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>interop</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencyManagement>
    <dependencies>
      <dependency>
        <groupId>org.apache.pulsar</groupId>
        <artifactId>pulsar</artifactId>
        <version>$tools_version</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>org.apache.pulsar</groupId>
      <artifactId>pulsar-client-tools</artifactId>
      <version>$tools_version</version>
    </dependency>
  </dependencies>
</project>
POM
    if ! (cd "$dir" && mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath.new -Dmdep.includeScope=runtime) \
        >"$dir/mvn.log" 2>&1; then
        tail -5 "$dir/mvn.log"
        echo "pulsar-admin: its jars could not be fetched"
        echo "0 passed, 1 failed"
        exit 1
    fi
    mv "$dir/classpath.new" "$dir/classpath"
fi

work=$(mktemp -d)
"$tidegate" standalone --data-dir "$work/data" --broker-port 0 --web-port 0 --workers "${WORKERS:-2}" >"$work/ready" 2>"$work/log" &
broker=$!
trap 'kill "$broker" 2>/dev/null; wait "$broker" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 200); do
    grep -q '^tidegate ready' "$work/ready" && break
    sleep 0.05
done
web=$(sed -n 's/.* web=//p' "$work/ready")
[ -n "$web" ] || { cat "$work/log"; echo "0 passed, 1 failed"; exit 1; }
printf 'webServiceUrl=%s/\n' "$web" >"$work/client.conf"

admin() {
    java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dslf4j.internal.verbosity=ERROR \
        --add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/jdk.internal.misc=ALL-UNNAMED \
        -cp "$(cat "$dir/classpath")" org.apache.pulsar.admin.cli.PulsarAdminTool "$work/client.conf" "$@" 2>&1
}

passed=0 failed=0
# expect PATTERN words...: succeeds and prints the pattern (an extended regular expression; '' for any)
expect() {
    local pattern=$1 out rc
    shift
    out=$(admin "$@")
    rc=$?
    if [ "$rc" -eq 0 ] && grep -Eq -- "$pattern" <<<"${out//$'\n'/ }"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: pulsar-admin $* (exit $rc), wanted '$pattern', got:"
        head -20 <<<"$out"
    fi
}
# refuse PATTERN words...: fails and says the pattern
refuse() {
    local pattern=$1 out
    shift
    if out=$(admin "$@"); then
        failed=$((failed + 1))
        echo "FAILED: pulsar-admin $* should have been refused"
    elif ! grep -Eq -- "$pattern" <<<"$out"; then
        failed=$((failed + 1))
        echo "FAILED: pulsar-admin $*: wanted '$pattern', got:"
        head -20 <<<"$out"
    else
        passed=$((passed + 1))
    fi
}

t=persistent://acme/east
expect '^standalone$' clusters list
expect 'brokerServiceUrl' clusters get standalone
expect '127.0.0.1' brokers list standalone
expect 'ok' brokers healthcheck
expect '' tenants create acme --allowed-clusters standalone
expect 'acme' tenants list
expect 'allowedClusters' tenants get acme
curl -sS -f -H 'Content-Type: application/json' -d '{"publishThrottlingRateInMsg":900}' \
    "$web/admin/v2/tenants/acme/publishQuota" || failed=$((failed + 1)) # which no Pulsar knows
expect 'allowedClusters' tenants get acme
expect '' namespaces create acme/east
expect 'acme/east' namespaces list acme
expect 'bundles' namespaces policies acme/east
expect 'null' namespaces get-publish-rate acme/east
expect '' namespaces set-publish-rate acme/east --msg-publish-rate 100 --byte-publish-rate 100000
expect '"publishThrottlingRateInMsg" : 100,' namespaces get-publish-rate acme/east
expect '' namespaces remove-publish-rate acme/east
expect 'null' namespaces get-publish-rate acme/east
refuse 'Namespace does not exist' namespaces get-publish-rate acme/west
expect 'null' namespaces get-dispatch-rate acme/east
expect '' namespaces set-dispatch-rate acme/east -md 100 -bd 100000 -dt 2 -rp
expect '"dispatchThrottlingRateInMsg" : 100,.*"ratePeriodInSecond" : 2' namespaces get-dispatch-rate acme/east
expect '"relativeToPublishRate" : true' namespaces get-dispatch-rate acme/east
expect '' namespaces set-subscription-dispatch-rate acme/east -md 50
expect '"dispatchThrottlingRateInMsg" : 50,' namespaces get-subscription-dispatch-rate acme/east
expect '' namespaces set-subscribe-rate acme/east -sr 5 -st 10
expect '"subscribeThrottlingRatePerConsumer" : 5,.*"ratePeriodInSecond" : 10' namespaces get-subscribe-rate acme/east
expect '"topicDispatchRate" : \{ +"standalone" : \{.*"clusterSubscribeRate" : \{ +"standalone"' namespaces policies acme/east
expect '' namespaces remove-subscribe-rate acme/east
expect '' namespaces remove-subscription-dispatch-rate acme/east
expect '' namespaces remove-dispatch-rate acme/east
expect 'null' namespaces get-subscribe-rate acme/east
refuse 'Namespace does not exist' namespaces set-dispatch-rate acme/west -md 5
curl -sS -f -H 'Content-Type: application/json' -d '{"publishThrottlingRateInMsg":900}' \
    "$web/admin/v2/namespaces/acme/east/publishQuota" || failed=$((failed + 1)) # which no Pulsar knows
expect 'bundles' namespaces policies acme/east
expect '' resourcegroups create gold -mp 700 -bp 70000
expect 'gold' resourcegroups list
expect '"publishRateInMsgs" : 700.*"dispatchRateInMsgs" : -1' resourcegroups get gold
expect '' resourcegroups update gold --msg-publish-rate 800
expect '"publishRateInMsgs" : 800.*"publishRateInBytes" : 70000' resourcegroups get gold
expect '' namespaces set-resource-group acme/east -rgn gold
expect 'gold' namespaces get-resource-group acme/east
expect '"resource_group_name" : "gold"' namespaces policies acme/east
refuse 'ResourceGroup is in use' resourcegroups delete gold
expect '' namespaces remove-resource-group acme/east
refuse 'ResourceGroup does not exist' namespaces set-resource-group acme/east -rgn lead
expect '' resourcegroups delete gold
refuse 'ResourceGroup does not exist' resourcegroups get gold
expect 'brokerPublisherThrottlingMaxMessageRate' brokers list-dynamic-config
expect '' brokers update-dynamic-config --config brokerPublisherThrottlingMaxMessageRate --value 500000
expect '' brokers update-dynamic-config --config brokerPublisherThrottlingMaxByteRate --value -1
expect 'brokerPublisherThrottlingMaxMessageRate +500000' brokers get-all-dynamic-config
expect 'brokerPublisherThrottlingMaxMessageRate +500000' brokers get-runtime-config
refuse "Can't update non-dynamic configuration" brokers update-dynamic-config --config maxMessageSize --value 5
refuse 'not allowed; allowed: a whole number' brokers update-dynamic-config \
    --config brokerPublisherThrottlingMaxByteRate --value many
for name in dispatchThrottlingRatePerTopicInMsg dispatchThrottlingRateInByte subscribeThrottlingRatePerConsumer; do
    expect '' brokers update-dynamic-config --config $name --value 777
    expect '' brokers delete-dynamic-config --config $name
done
expect '' brokers update-dynamic-config --config dispatchThrottlingOnNonBacklogConsumerEnabled --value false
expect 'dispatchThrottlingOnNonBacklogConsumerEnabled +false' brokers get-all-dynamic-config
expect '' brokers delete-dynamic-config --config dispatchThrottlingOnNonBacklogConsumerEnabled
expect '' brokers delete-dynamic-config --config brokerPublisherThrottlingMaxMessageRate
refuse "Can't delete non-dynamic configuration" brokers delete-dynamic-config --config maxMessageSize
expect '^ *brokerPublisherThrottlingMaxByteRate +-1 *$' brokers get-all-dynamic-config
expect '' topics create $t/orders
expect "$t/orders" topics list acme/east
expect '' topics create-partitioned-topic $t/parts --partitions 2
expect '' topics update-partitioned-topic $t/parts --partitions 4
expect '"partitions" : 4' topics get-partitioned-topic-metadata $t/parts
expect "$t/parts" topics list-partitioned-topics acme/east
expect 'msgRateIn' topics stats $t/orders
expect 'metadata' topics partitioned-stats $t/parts
expect '' topics create-subscription $t/orders -s s1
expect '' topics create-subscription $t/orders -s s2 -m earliest
expect 's1' topics subscriptions $t/orders
expect '' topics skip $t/orders -s s1 -n 1
expect '' topics clear-backlog $t/orders -s s1
expect '' topics reset-cursor $t/orders -s s1 -t 1m
expect '' topics unsubscribe $t/orders -s s1
expect '' topicPolicies set-publish-rate $t/orders -m 50
expect '"publishThrottlingRateInMsg" : 50,' topicPolicies get-publish-rate $t/orders
expect '' topicPolicies remove-publish-rate $t/orders
expect '' topics set-publish-rate $t/orders -m 7 -b 7000
expect '"publishThrottlingRateInByte" : 7000' topics get-publish-rate $t/orders
expect '' topics remove-publish-rate $t/orders
expect '' topicPolicies set-dispatch-rate $t/orders -md 50 -bd 5000
expect '"dispatchThrottlingRateInByte" : 5000' topicPolicies get-dispatch-rate $t/orders
expect '' topicPolicies set-subscription-dispatch-rate $t/orders -md 40
expect '"dispatchThrottlingRateInMsg" : 40,' topicPolicies get-subscription-dispatch-rate $t/orders -ap
expect 'null|^ *$' topicPolicies get-subscription-dispatch-rate $t/orders -s s9
expect '"dispatchThrottlingRateInMsg" : 40,' topicPolicies get-subscription-dispatch-rate $t/orders -s s9 -ap
expect '' topicPolicies set-subscription-dispatch-rate $t/orders -s s9 -md 30 -bd 3000 -dt 2 -rp
expect '"dispatchThrottlingRateInMsg" : 30,.*"ratePeriodInSecond" : 2' topicPolicies get-subscription-dispatch-rate $t/orders -s s9
expect '"dispatchThrottlingRateInMsg" : 40,' topicPolicies get-subscription-dispatch-rate $t/orders
expect '' topicPolicies remove-subscription-dispatch-rate $t/orders -s s9
expect 'null|^ *$' topicPolicies get-subscription-dispatch-rate $t/orders -s s9
expect '' topicPolicies set-subscribe-rate $t/orders -sr 4
expect '"subscribeThrottlingRatePerConsumer" : 4,.*"ratePeriodInSecond" : 30' topicPolicies get-subscribe-rate $t/orders --applied
expect '' topicPolicies remove-dispatch-rate $t/orders
expect '' topicPolicies remove-subscription-dispatch-rate $t/orders
expect '' topicPolicies remove-subscribe-rate $t/orders
expect 'null|^ *$' topicPolicies get-dispatch-rate $t/orders
expect '' topics set-dispatch-rate $t/orders -md 9
expect '"dispatchThrottlingRateInMsg" : 9,' topics get-dispatch-rate $t/orders -ap
expect '' topics unload $t/orders
refuse 'not found|does not exist' topics stats $t/nothing
refuse 'already exist' topics create $t/orders
refuse 'exist' tenants create acme --allowed-clusters standalone
expect '' topics delete $t/orders
expect '' topics delete-partitioned-topic $t/parts
expect '' namespaces delete acme/east
expect '' tenants delete acme
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
