//! Nodes that can be killed.

use graft_election::Node;
use tokio::runtime::{Builder, Runtime};

/// A node in its own runtime. Ending the runtime ends the node wherever it is, without a farewell,
/// as `kill -9` ends a process.
#[derive(Debug)]
pub struct KillableNode {
    node: Node,
    runtime: Option<Runtime>,
}

impl KillableNode {
    /// Starts the node that `starting` resolves to.
    pub async fn start(starting: impl Future<Output = Node> + Send + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let node = runtime.spawn(starting).await.expect("the node starts");
        Self { node, runtime: Some(runtime) }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        let mut status = self.node.watch();
        self.end();
        while status.changed().await.is_ok() {}
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would block the test.
            runtime.shutdown_background();
        }
    }
}

impl Drop for KillableNode {
    fn drop(&mut self) {
        self.end();
    }
}
