"""aioapns, the APNs client of Python's asyncio services, through its public interface and on uvloop: a client with one
connection for each of the wanted connections, and as many tasks on it as there may be requests at once.

The first argument names a file with the job (see ../rust/src/lib.rs for its fields). Nothing of the library is changed but
where it connects to. It takes a message as a dictionary and serialises it for each device, with a space after each comma
and colon; it finds the request of an answer by the answer's apns-id, so it needs a server that repeats it.
"""

import asyncio
import json
import logging
import resource
import ssl
import sys
import time

import uvloop
from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsTLSClientProtocol


def cpu_us() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round((usage.ru_utime + usage.ru_stime) * 1e6)


async def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    with open(job["tokens"]) as file:
        tokens = file.read().split()
    headers = dict(job["headers"])
    message = json.loads(job["body"])
    time_to_live = int(headers["apns-expiration"]) - int(time.time())
    priority = int(headers["apns-priority"])
    push_type = PushType(headers["apns-push-type"])
    with open(job["key"]) as file:
        key = file.read()

    context = ssl.create_default_context(cafile=job["ca"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])

    class Local(APNsTLSClientProtocol):
        APNS_SERVER = "localhost"
        APNS_PORT = job["port"]

    def client() -> APNs:
        apns = APNs(
            key=key,
            key_id="PEERPEER00",
            team_id="COMPARISON",
            topic=headers["apns-topic"],
            max_connections=1,
            ssl_context=context,
        )
        apns.pool.protocol_class = Local
        return apns

    async def send(apns: APNs, number: int) -> bool:
        result = await apns.send_notification(
            NotificationRequest(
                device_token=tokens[number % len(tokens)],
                message=message,
                notification_id=f"0fa0fa0f-0000-8000-8000-{number:012x}",
                time_to_live=time_to_live,
                priority=priority,
                collapse_key=headers["apns-collapse-id"],
                push_type=push_type,
            )
        )
        return result.is_successful

    async def work(apns: APNs, numbers) -> int:
        good = 0
        for number in numbers:
            good += await send(apns, number)
        return good

    clients = [client() for _ in range(job["connections"])]
    for apns in clients:
        # Opens the connection.
        if not await send(apns, job["requests"]):
            sys.exit("the first request was refused")

    wall, cpu = time.perf_counter(), cpu_us()
    tasks = []
    first = 0
    for number, apns in enumerate(clients):
        share = job["requests"] // len(clients) + (number < job["requests"] % len(clients))
        numbers = iter(range(first, first + share))
        first += share
        tasks += [work(apns, numbers) for _ in range(job["streams"])]
    answered = sum(await asyncio.gather(*tasks))
    elapsed_s, used = time.perf_counter() - wall, cpu_us() - cpu
    failed = job["requests"] - answered
    print(json.dumps({"answered": answered, "failed": failed, "elapsed_s": elapsed_s, "cpu_us": used}))


logging.disable(logging.WARNING)
uvloop.run(main())
