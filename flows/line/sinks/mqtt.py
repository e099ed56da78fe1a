"""Verdicts as MQTT messages, with birth, last will and a heartbeat that a controller can fail safe by."""

import json
import logging
from datetime import UTC, datetime
from threading import Condition
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from flows.line.addresses import PASSWORD, USER, SinkAddress, secret
from flows.line.journal import Kept
from flows.line.sinks.sink import AwayError

_SECONDS = 10.0  # that the broker may take to confirm
_KEEPALIVE = 10  # seconds; the broker sends the last will after one and a half times that

log = logging.getLogger(__name__)


class MqttSink:
    """Publishes to one broker.

    `TOPIC` gets each verdict with QoS 1, `TOPIC/state` (retained) `online` or `offline`, the latter also by the broker
    where this process dies; `TOPIC/heartbeat` the time, every second while inspection goes on.
    """

    def __init__(self, address: SinkAddress, client_id: str) -> None:
        """Begin to connect, and again whenever the broker is away.

        Args:
            address: Of kind mqtt or mqtts; the latter checks the broker's certificate.
            client_id: One name a line, so that a broker knows it again after a restart.
        """
        self.name, self._topic = address.text, address.path
        self._sent: tuple[int, int] | None = None  # a verdict that is under way, and paho's number for it
        self._confirmed: set[int] = set()
        self._news = Condition()
        self._alive = True
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        if user := secret(USER):
            self._client.username_pw_set(user, secret(PASSWORD) or None)
        if address.kind == "mqtts":
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/state", _state("offline"), qos=1, retain=True)
        self._client.on_publish = self._confirm
        self._client.on_connect = self._greet
        self._client.on_disconnect = self._notice
        self._client.reconnect_delay_set(1, 30)
        self._client.connect_async(address.host, address.port, keepalive=_KEEPALIVE)
        self._client.loop_start()

    def send(self, kept: Kept) -> None:
        # Published once: paho repeats by itself what the broker has not confirmed, also over a new connection.
        if self._sent is None or self._sent[0] != kept.number:
            if not self._client.is_connected():
                raise AwayError(f"{self.name} is not connected", hint="start the broker: nothing is lost")
            self._sent = kept.number, self._client.publish(self._topic, kept.body, qos=1).mid
        mid = self._sent[1]
        with self._news:
            if not self._news.wait_for(lambda: mid in self._confirmed, _SECONDS):
                raise AwayError(f"{self.name} does not confirm", hint="start the broker: nothing is lost")
            self._confirmed.clear()
        self._sent = None

    def beat(self, *, alive: bool) -> None:
        if not self._client.is_connected():
            return
        if alive != self._alive:
            self._alive = alive
            self._client.publish(f"{self._topic}/state", _state("online" if alive else "stopped"), qos=1, retain=True)
        if alive:
            self._client.publish(f"{self._topic}/heartbeat", datetime.now(UTC).isoformat(timespec="milliseconds"))

    def close(self) -> None:
        if self._client.is_connected():
            farewell = self._client.publish(f"{self._topic}/state", _state("offline"), qos=1, retain=True)
            try:
                farewell.wait_for_publish(1.0)
            except (RuntimeError, ValueError) as error:
                log.debug("mqtt: %s", error)
        self._client.disconnect()
        self._client.loop_stop()

    def _confirm(self, _client: mqtt.Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        with self._news:
            self._confirmed.add(mid)
            self._news.notify_all()

    def _greet(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.warning("line: %s refuses the connection: %s", self.name, reason)
            return
        client.publish(f"{self._topic}/state", _state("online"), qos=1, retain=True)

    def _notice(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.info("line: the connection to %s is lost", self.name)


def _state(word: str) -> str:
    return json.dumps({"state": word, "since": datetime.now(UTC).isoformat(timespec="seconds")})
