//! Faults of a gateway that the model must find. A world that cannot fail would prove nothing.

/// What gateway 1 does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A bit of an inner packet flips behind the cipher.
    AlterInner,
    /// Each inner packet is written twice.
    DeliverTwice,
    /// Initiations are not answered.
    NeverAnswer,
    /// A payload leaves in clear.
    LeakPayload,
    /// Each data message is sent twice: its counter is used twice.
    ReuseCounter,
    /// Each initiation is sent twice.
    InitiateTwice,
    /// A restart loses the timestamp's mark.
    ForgetMark,
    /// A peer that was removed stays.
    KeepRemovedPeer,
    /// Gateway 0 may use the addresses of site 2.
    OpenSourceCheck,
    /// Something is sent when there is nothing to say.
    Chatter,
    /// No deadline is ever kept.
    LoseDeadlines,
    /// What comes out at site 1 is written at site 0 too.
    WrongSite,
}

impl Sabotage {
    /// Which gateway it is.
    pub(crate) const HOST: usize = 1;
}
