//! Neither the core nor the wire format allocates.

use graft_election_costs::scene::SCENES;

#[test]
fn no_scene_allocates() {
    for scene in SCENES {
        let mut play = (scene.prepare)(1);
        let counted = allocation_counter::measure(|| {
            play();
        });
        assert_eq!(counted.count_total, 0, "{}", scene.name);
    }
}
