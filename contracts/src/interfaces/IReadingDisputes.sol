// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IReadingDisputes: evidence against settled intervals, and who pays when it holds
/// @notice Who signs batches, and any member that wants its meters to be believed, posts a bond. Who is
/// proven wrong forfeits twice the bounty from its own bond, or what is left of it: half goes to who
/// brought the evidence, half to the community. Nobody else pays, so that whoever makes up evidence
/// against itself, by whatever address, loses at least what it forfeits to the community; taking the
/// bond back is cheaper. Evidence against others cannot be made up without their keys.
///
/// What a meter has to keep to, so that it never contradicts itself: one pair of registers for one
/// second, none that falls with time; lower registers only once its reset stands in the registry.
///
/// What a signer has to keep to: readings in its trees are signed by their meters, and nobody sells in
/// its batches more than meters gave that the registry knows. A seller without such a meter it holds
/// back: no reading can cover that sale, however honest it is.
///
/// What cannot be shown here:
/// * That readings are missing. A proof leads to what a tree holds, not to what it lacks: a signer that
///   leaves readings out, or invents some of a meter that the registry does not know or in a form that
///   no call can carry (a signature of another length), escapes `disputeSettlement`. Receipts without
///   these readings fail in their owner's hands (`verify_receipt`), but cost no bond.
/// * Anything, by somebody who has no receipt: readings, signatures and proofs stand there only.
/// * Wrongs of somebody without a bond. Nobody is forced to post one, and who lies more often than its
///   bond pays loses no more than the bond.
///
/// A bounty goes to whoever calls first, also with evidence copied from a call that is still pending.
interface IReadingDisputes {
    /// @notice What a signer states about a batch, signed as EIP-712 typed data in the ledger's domain:
    /// `Settlement(uint64 deliveryStart,uint32 revision,bytes32 batchHash,bytes32 readingsRoot,
    /// bytes32 receiptsRoot)`
    /// @param deliveryStart UTC second in which the interval begins
    /// @param revision counts the statements about one interval from 0
    /// @param batchHash keccak256 of the batch's rows
    /// @param readingsRoot Merkle root of the readings behind it
    /// @param receiptsRoot Merkle root of the members' receipts
    /// @param signer who signed; no contract wallet, for those can take a signature back
    /// @param r of the signature
    /// @param vs of the signature (EIP-2098)
    struct Settlement {
        uint64 deliveryStart;
        uint32 revision;
        bytes32 batchHash;
        bytes32 readingsRoot;
        bytes32 receiptsRoot;
        address signer;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A reading with its place in a settlement's tree
    /// @param reading packed as for `ISmartMeter.submitReading`
    /// @param signature as for `ISmartMeter.submitReading`
    /// @param proof from the leaf keccak256(keccak256(keccak256("energy-trade/reading/2") || digest || r
    /// || s)), r and s being the signature's first 64 bytes
    struct SettledReading {
        uint256 reading;
        bytes signature;
        bytes32[] proof;
    }

    /// @notice What one meter showed around an interval
    /// @param deviceId one of the meter's keys
    /// @param opening at the interval's begin or before
    /// @param closing at the interval's end or later
    struct MeterSpan {
        uint256 deviceId;
        SettledReading opening;
        SettledReading closing;
    }

    /// @notice What was proven about a settlement, the worse of both
    enum Finding {
        None,
        MeterContradicted,
        SignerLied
    }

    /* EVENTS */

    /// @notice Money was added to an account's bond
    event BondPosted(address indexed account, address indexed from, uint256 moneyMicro);

    /// @notice An account wants part of its bond back; from `availableAt` on it can take it
    event BondWithdrawalRequested(address indexed account, uint256 moneyMicro, uint256 availableAt);

    /// @notice An account took part of its bond back
    event BondWithdrawn(address indexed account, address indexed to, uint256 moneyMicro);

    /// @notice An account was proven wrong and pays: half of it to `challenger`, rounded down
    event BondForfeited(address indexed account, address indexed challenger, uint256 moneyMicro);

    /// @notice The community got what was forfeited to it
    event ForfeitsCollected(address indexed community, uint256 moneyMicro);

    /// @notice A meter signed a reading that contradicts a settled one
    event MeterContradicted(
        uint256 indexed deviceId,
        address indexed signer,
        uint64 indexed deliveryStart,
        uint32 revision,
        uint256 settledReading,
        uint256 otherReading
    );

    /// @notice A settlement minted more for an account than its meters' registers rose
    event SignerLied(
        address indexed signer,
        uint64 indexed deliveryStart,
        address indexed account,
        uint32 revision,
        uint256 mintedWh,
        uint256 producedWh
    );

    /// @notice A settlement's tree holds a reading that its meter did not sign
    event ReadingInvented(
        address indexed signer,
        uint64 indexed deliveryStart,
        uint256 indexed deviceId,
        uint32 revision,
        uint256 reading
    );

    /* ERRORS */

    error ConfigurationInvalid(string field);
    error AmountZero();
    error RecipientInvalid(address recipient);
    error BondInsufficient(address account, uint256 moneyMicro, uint256 neededMicro);
    error BondWithdrawalNotRequested(address account);
    error BondWithdrawalTooEarly(address account, uint256 availableAt);
    error SignerUnbonded(address signer);
    error SettlementSignatureInvalid(address signer);
    error SelfDispute(address caller);
    error MeterAlreadyDisputed(uint256 deviceId);
    error SettlementAlreadyDisputed(address signer, uint64 deliveryStart, uint32 revision);
    error SettlementNotOnLedger(address account, uint64 deliveryStart);
    error ReadingNotInSettlement(uint256 deviceId, uint256 reading);
    error ReadingNotSigned(uint256 deviceId, uint256 reading);
    error ReadingIsSigned(uint256 deviceId, uint256 reading);
    error MeterUnregistered(uint256 deviceId);
    error ReadingsDoNotContradict(uint256 settledReading, uint256 otherReading);
    error RowsInvalid(bytes32 rowsHash, uint256 length);
    error MeterNotOfAccount(uint256 deviceId, address account);
    error MetersNotAscending(uint256 deviceId);
    error MetersIncomplete(address account, uint256 given, uint256 registered);
    error SpanTooShort(uint256 deviceId, uint256 openedAt, uint256 closedAt);
    error SpanAcrossReset(uint256 deviceId);
    error SpanFalls(uint256 deviceId, uint256 openingWh, uint256 closingWh);
    error MintIsCovered(address account, uint256 mintedWh, uint256 producedWh);

    /* BONDS */

    /// @notice Add to an account's bond from the caller's money; it is the account's from then on
    /// @return creditedMicro what arrived (less with a fee-on-transfer token)
    function postBond(address account, uint256 moneyMicro) external returns (uint256 creditedMicro);

    /// @notice Ask for part of the caller's bond; replaces an earlier request, 0 ends it
    /// @dev Until it is taken the bond answers in full, but what is asked for counts no more in
    /// `isBonded`.
    function requestBondWithdrawal(uint256 moneyMicro) external;

    /// @notice Take what was asked for, or what is left of it, after the delay
    /// @return moneyMicro what `to` got
    function withdrawBond(address to) external returns (uint256 moneyMicro);

    /// @notice Send to the community what was forfeited to it; anyone may
    function collectForfeits() external;

    /* EVIDENCE */

    /// @notice Show that a meter signed a reading that contradicts one in a settlement's tree
    /// @dev Contradictions, within one epoch of the registry: one second with two readings, registers
    /// that fall with time; then the meter's account forfeits. Also one sequence number for two moments,
    /// or sequence and time that do not rise together; then nobody pays, for a coordinator that refuses
    /// readings can bring an honest home to number them anew. Either way the interval is marked and the
    /// meter suspended, once. Not by the meter's own account.
    /// @param settlement signed by somebody with a bond
    /// @param settled the reading in its tree
    /// @param other packed reading that the same meter signed
    /// @param otherSignature as for `ISmartMeter.submitReading`
    /// @return bountyMicro what the caller got
    function disputeMeter(
        Settlement calldata settlement,
        uint256 deviceId,
        SettledReading calldata settled,
        uint256 other,
        bytes calldata otherSignature
    ) external returns (uint256 bountyMicro);

    /// @notice Show that a batch mints more for an account than its meters' registers rose from before
    /// the interval until after it, by the readings in the signer's own tree; then the signer forfeits
    /// @dev Once per signer, interval and revision; not by the signer. The account's interval must be
    /// used on the ledger, so that the batch's meters are registered. A meter counts once, whichever of
    /// its keys signed; an account that had a meter revoked without a rotation cannot be shown
    /// completely any more.
    /// @param settlement signed by somebody with a bond
    /// @param rows the batch's rows, as `settleBatch` got them
    /// @param account whose rows
    /// @param meters all that were ever registered for it, by rising `originOf`
    /// @return bountyMicro what the caller got
    function disputeSettlement(
        Settlement calldata settlement,
        bytes calldata rows,
        address account,
        MeterSpan[] calldata meters
    ) external returns (uint256 bountyMicro);

    /// @notice Show that a settlement's tree holds a reading that its meter did not sign; then the
    /// signer forfeits
    /// @dev Once per signer, interval and revision, `disputeSettlement` included; not by the signer. The
    /// registry must know the key that `deviceId` is the hash of: that key had to sign. Whether the key
    /// still counts is not asked, so that no rotation, revocation or suspension makes a true reading an
    /// invented one. Nor is it asked whether the batch was settled: no honest signer signs such a tree.
    /// @param settlement signed by somebody with a bond
    /// @param settled the reading in its tree, with the signature that stands there
    /// @return bountyMicro what the caller got
    function disputeReading(
        Settlement calldata settlement,
        uint256 deviceId,
        SettledReading calldata settled
    ) external returns (uint256 bountyMicro);

    /* VIEWS */

    /// @notice An account's bond
    /// @return moneyMicro what answers for it
    /// @return leavingMicro what it asked to have back
    /// @return availableAt from when on it can take that
    function bondOf(address account)
        external
        view
        returns (uint256 moneyMicro, uint256 leavingMicro, uint256 availableAt);

    /// @notice True when the account's bond, less what it asked to have back, pays a whole forfeit
    function isBonded(address account) external view returns (bool);

    /// @notice What was proven about a signer's settlement
    function findingOf(address signer, uint64 deliveryStart, uint32 revision)
        external
        view
        returns (Finding);

    /// @notice The digest that a signer signs for a settlement
    function settlementDigest(Settlement calldata settlement) external view returns (bytes32);

    /// @notice Forfeited to the community and not yet collected, 1e-6 currency
    function forfeitsMicro() external view returns (uint256);
}
