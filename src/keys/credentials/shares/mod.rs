//! Credential of kind 3: recovery shares, of which any number from the threshold on opens a slot.

mod checksum;
mod share;
mod symbols;
mod text;

use std::fmt;

pub use share::Share;

use crate::crypto::{self, SlotSecret, interpolate};
use crate::error::{Error, Result, ShareError};
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::secret::Secret32;
use share::{ShareSet, THRESHOLD_MIN};

const KIND: u16 = 3;

/// A set of recovery shares, with which several people together open a vault.
///
/// [`Shares::split`] makes a set. As many shares as the threshold, such as any 3 of 5, recover the secret of its
/// slots. Print the shares and give each to its holder. [`Shares::from_texts`] and [`Shares::combine`] recover the
/// set, which then opens the slot.
///
/// ```
/// # use chartlock::{MemoryStorage, Vault, keys::{Passphrase, Shares}};
/// # use std::sync::Arc;
/// # let storage = Arc::new(MemoryStorage::new());
/// # let vault = Vault::create(Arc::clone(&storage), &Passphrase::new("correct horse battery staple"))?;
/// let shares = Shares::split(3, 5)?;
/// vault.add_slot(&shares)?;
/// let paper: Vec<_> = shares.all().iter().map(|share| share.to_text()).collect();
/// # drop((vault, shares));
///
/// // Years later, three holders type their shares.
/// let typed = [&paper[4], &paper[0], &paper[2]].map(|text| text.to_lowercase());
/// let shares = Shares::from_texts(&typed)?;
/// let vault = Vault::open(storage, &shares)?;
/// # Ok::<(), chartlock::Error>(())
/// ```
///
/// # Why fewer shares reveal nothing
///
/// The shares are values of polynomials (Adi Shamir, "How to share a secret", Communications of the ACM 22,
/// 1979), over the field of 256 elements, with one polynomial for each of the 32 bytes. With threshold t,
/// the secret is the value at 0. The values at 1 to t − 1 are random, and the others follow from the
/// polynomial of degree at most t − 1 through these t points.
///
/// Through any t points with distinct positions passes exactly one such polynomial. So for t − 1 shares
/// and *each* possible secret, exactly one polynomial gives these shares and this secret. All polynomials
/// are equally likely, so all secrets stay equally likely, and no computing power changes that. Only the
/// vault's header could confirm a guess, and there are 2²⁵⁶ secrets to guess.
///
/// The set's id, the threshold, the number of shares and each share's number are not secret.
///
/// # Keeping shares
///
/// - Give each share to one person, on paper, in a sealed envelope, at different sites. Choose the number
///   so that the vault opens although some are lost, and the threshold so that no likely group can collude.
/// - Print on a printer without a disk or a network queue. Do not mail or photograph shares, and do not store
///   them beside the data.
/// - Note on the envelope the set, the share's number and the date. Keep a list of the holders.
/// - Once a year, let each holder read the share into [`Share::from_text`], which finds a damaged or
///   mistyped share without the others. Then open a restored backup with as many shares as the threshold,
///   each time from other holders. Without such a drill, you do not know whether the set opens the vault.
/// - A set has all of its shares after it was combined. So a lost share can be printed again. A share
///   that another person may have seen is not lost but leaked: renew the set.
///
/// # Renewing a set
///
/// Split a new set, print it, and let each holder read a share into [`Share::from_text`]. Then pass the set to
/// [`Vault::replace_slot`](crate::Vault::replace_slot) with the id of the slot: from then on, the former shares open
/// nothing but old copies of the header. Check that the new shares open the vault, export a new recovery kit, and
/// destroy the former shares and kits. A new set also changes the threshold, the number of shares or the holders.
///
/// # When only the shares are left
///
/// 1. Combine as many shares as the threshold with [`Shares::from_texts`], and open the vault with the set.
/// 2. Add slots for the new credentials with [`Vault::add_slot`](crate::Vault::add_slot).
/// 3. Rotate the root key with [`Vault::rotate_root_key`](crate::Vault::rotate_root_key): keep the new credentials and
///    the set, and drop the slots of the lost ones. If they were stolen, rotate the master key as well.
/// 4. Call [`Vault::verify`](crate::Vault::verify), and export a new recovery kit.
///
/// Former shares still open old copies of the header, such as backups. After a leak, or when a holder
/// leaves after a dispute, also call [`Vault::rotate_root_key`](crate::Vault::rotate_root_key), and see there
/// what a rotation does not undo.
///
/// # Limits
///
/// - Holders of enough shares open the vault without asking anyone, and every other slot still opens it
///   alone. Shares add a way to open a vault; they do not require two people for a vault that also has a
///   passphrase.
/// - The machine that splits or combines a set has the whole secret in its memory.
/// - The check characters find mistakes, not forgeries. A holder who brings a forged share makes the set
///   recover a wrong secret, which opens nothing ([`Error::WrongKey`]). Try other holders' shares.
/// - Shares do not expire, and nothing journals their use before the vault is open.
pub struct Shares {
    set: ShareSet,
    secret: SlotSecret,
    all: Vec<Share>,
}

impl Shares {
    /// Makes a new set with a random secret. The threshold is at least 2, and the number of shares
    /// (`count`) at least the threshold and at most 16, as in SLIP-39; more holders are hard to keep track of.
    ///
    /// # Errors
    /// [`ShareError::Bounds`] for other numbers; [`Error::Randomness`] if the system provides no random
    /// bytes.
    pub fn split(threshold: u8, count: u8) -> Result<Self> {
        let set = ShareSet::random(threshold, count)?;
        // The values at 0 to threshold − 1 determine the polynomials. They are uniformly random, so the
        // polynomials are too; a highest coefficient of 0 is as likely as any other.
        let drawn = (0..threshold).map(|_| SlotSecret::random());
        let drawn = drawn.collect::<Result<Vec<_>>>()?;
        let points: Vec<_> = (0..).zip(drawn.iter().map(SlotSecret::expose)).collect();
        Self::through(set, &points)
    }

    /// Recovers a set from its shares, in any order. More shares than the threshold are checked too.
    ///
    /// # Errors
    /// These name shares by their positions in `shares`, from 1, and are returned in this order:
    /// - [`ShareError::OtherSet`] for a share of another set than most.
    /// - [`ShareError::Repeated`] for two copies of one share.
    /// - [`ShareError::TooFew`], which says how many shares are missing.
    /// - [`ShareError::Inconsistent`] for shares that contradict each other.
    pub fn combine(shares: &[Share]) -> Result<Self> {
        let few = |missing| Error::Shares(ShareError::TooFew { missing });
        let set = common_set(shares).ok_or(few(THRESHOLD_MIN.into()))?;
        check_set(shares, set)?;
        check_copies(shares)?;
        let threshold = usize::from(set.threshold);
        if shares.len() < threshold {
            return Err(few(threshold - shares.len()));
        }
        let given = shares.iter().take(threshold);
        let points: Vec<_> = given
            .map(|share| (share.index, share.bytes.expose()))
            .collect();
        let recovered = Self::through(set, &points)?;
        match recovered.contains_all(shares) {
            true => Ok(recovered),
            false => Err(ShareError::Inconsistent.into()),
        }
    }

    /// Parses the texts of shares as [`Share::from_text`] does, then combines them.
    ///
    /// # Errors
    /// Errors of [`Share::from_text`], with the position of the text among `texts`, and of
    /// [`Shares::combine`].
    pub fn from_texts(texts: &[impl AsRef<str>]) -> Result<Self> {
        let numbered = (1..).zip(texts);
        let shares = numbered.map(|(number, text)| text::parse(text.as_ref(), number));
        Self::combine(&shares.collect::<Result<Vec<_>>>()?)
    }

    /// Returns all shares of the set, in the order of their numbers.
    pub fn all(&self) -> &[Share] {
        &self.all
    }

    /// Creates the set whose polynomials have these values.
    fn through(set: ShareSet, points: &[(u8, &[u8; 32])]) -> Result<Self> {
        let value_at = |index, out: &mut [u8; 32]| -> Result<()> {
            interpolate(points, index, out);
            Ok(())
        };
        let share = |index| {
            let bytes = Secret32::try_with(|out| value_at(index, out))?;
            Ok(Share { set, index, bytes })
        };
        Ok(Self {
            set,
            secret: SlotSecret::try_with(|out| value_at(0, out))?,
            all: (1..=set.count).map(share).collect::<Result<_>>()?,
        })
    }

    fn contains_all(&self, shares: &[Share]) -> bool {
        shares.iter().all(|share| {
            let mut own = self.all.iter().filter(|own| own.index == share.index);
            own.any(|own| crypto::equal(own.bytes.expose(), share.bytes.expose()))
        })
    }
}

/// Returns the set of most shares; of several such sets, the first.
fn common_set(shares: &[Share]) -> Option<ShareSet> {
    let members = |set: &ShareSet| shares.iter().filter(|share| share.set == *set).count();
    // `max_by_key` returns the last maximum, hence the reverse order.
    let sets = shares.iter().rev().map(|share| share.set);
    sets.max_by_key(members)
}

fn check_set(shares: &[Share], set: ShareSet) -> Result<()> {
    match (1..).zip(shares).find(|(_, share)| share.set != set) {
        Some((share, _)) => Err(ShareError::OtherSet { share }.into()),
        None => Ok(()),
    }
}

/// Refuses shares with the same number. If their bytes differ, one of them was forged.
fn check_copies(shares: &[Share]) -> Result<()> {
    for (second, share) in (1..).zip(shares) {
        let mut before = (1..second).zip(shares);
        if let Some((first, other)) = before.find(|(_, other)| other.index == share.index) {
            let is_copy = crypto::equal(other.bytes.expose(), share.bytes.expose());
            let copies = ShareError::Repeated { first, second };
            return Err(if is_copy {
                copies
            } else {
                ShareError::Inconsistent
            }
            .into());
        }
    }
    Ok(())
}

impl Credential for Shares {
    fn kind(&self) -> u16 {
        KIND
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        let secret = SlotSecret::from_bytes(self.secret.expose());
        Ok((self.set.to_parameters(), secret))
    }

    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>> {
        let is_of_set = parameters == self.set.to_parameters();
        Ok(is_of_set.then(|| SlotSecret::from_bytes(self.secret.expose())))
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shares(..)")
    }
}
