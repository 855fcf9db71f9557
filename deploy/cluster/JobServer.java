/**
 * Beam's job server for a cluster whose processes have Beam's jars on their class paths already. The server looks at this property for
 * what to send along with every job, and finds nothing. `java` compiles this file when it starts it.
 */
class JobServer {
    public static void main(String[] arguments) throws Exception {
        System.setProperty("java.class.path", "");
        org.apache.beam.runners.flink.FlinkJobServerDriver.main(arguments);
    }
}
