"""A plain keep-alive client: GETs until the server refuses connections. Arguments: URL, pause in
milliseconds, connections. Prints "requests N, errors M".

http.client does not retry: a kept connection that turns out to be closed after a pause is opened
again here. On a busy connection that would be an error.
"""

import http.client
import sys
import threading
import time
import urllib.parse

url, pause, count = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2]) / 1000, int(sys.argv[3])
IDLE = 0.9
requests, errors = [], []


def run():
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    used = None
    while True:
        idle = 0 if used is None else time.monotonic() - used
        try:
            connection.request("GET", url.path)
            answer = connection.getresponse()
            answer.read()
            requests.append(answer.status)
            if answer.status != 200:
                errors.append(answer.status)
        except ConnectionRefusedError:
            return
        except (http.client.HTTPException, OSError) as error:
            if idle < IDLE:
                errors.append(repr(error))
            connection.close()
            used = None
            continue
        used = time.monotonic()
        time.sleep(pause)


threads = [threading.Thread(target=run) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*errors[:3], file=sys.stderr)
print(f"requests {len(requests)}, errors {len(errors)}")
