import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A plain keep-alive client: GETs until the server refuses connections. Arguments: URL, pause in
 * milliseconds, connections. Prints "requests N, errors M".
 */
public class Client {
    public static void main(String[] args) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var request = HttpRequest.newBuilder(URI.create(args[0])).build();
        var requests = new AtomicInteger();
        var errors = new AtomicInteger();
        var threads = new Thread[Integer.parseInt(args[2])];
        for (int n = 0; n < threads.length; n++) {
            threads[n] = new Thread(() -> {
                while (true) {
                    try {
                        var answer = client.send(request, BodyHandlers.ofString());
                        requests.incrementAndGet();
                        if (answer.statusCode() != 200) {
                            errors.incrementAndGet();
                        }
                        Thread.sleep(Integer.parseInt(args[1]));
                    } catch (ConnectException refused) {
                        return;
                    } catch (Exception error) {
                        errors.incrementAndGet();
                        System.err.println(error);
                    }
                }
            });
            threads[n].start();
        }
        for (var thread : threads) {
            thread.join();
        }
        System.out.println("requests " + requests + ", errors " + errors);
    }
}
