"""Stock of a shop. Standard library only; knows nothing of a mesh.

Listens on $PORT. Asks http://ratings.shop through $http_proxy, as urllib does by itself.
"""
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stock(BaseHTTPRequestHandler):
    def do_GET(self):
        product = self.path.rsplit("/", 1)[-1]
        try:
            with urllib.request.urlopen(f"http://ratings.shop/ratings/{product}", timeout=2) as answer:
                stars = json.load(answer)["stars"]
            status, body = 200, {"product": product, "left": 10 - stars}
        except OSError as error:
            reason = getattr(error, "headers", None) and error.headers.get("mesh-reason")
            status, body = 502, {"error": f"ratings: {error} [{reason or 'no reason given'}]"}
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Stock).serve_forever()
