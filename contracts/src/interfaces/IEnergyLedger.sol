// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IEnergyLedger: one community's energy and money, and the only place where they change
/// @notice Every account is one storage word: flags, energy (Wh), money (1e-6 currency) and which of
/// the last 96 delivery intervals are used. See `INVARIANTS.md`.
interface IEnergyLedger {
    /// @notice What a ledger is made with, for ever
    /// @param market the market's id, as orders name it
    /// @param intervalS seconds of a delivery interval, at most an hour
    /// @param genesis UTC second of interval 0, a multiple of the interval
    /// @param currency settlement token; its smallest unit is the money unit (1e-6 currency)
    /// @param priceMin lowest price, 1e-6 currency per kWh
    /// @param priceMax highest price, 1e-6 currency per kWh
    /// @param shortfallPriceMax highest price at which a seller answers for what it sold and did not
    /// produce; its compensation is at most this less its limit. `priceMin`: no compensation
    /// @param underUsePriceMin lowest price at which a buyer's unused purchase is taken off it; its
    /// compensation is at most its limit less this. `priceMax`: no compensation
    /// @param meteredMaxWh most energy that one account can produce in an interval
    /// @param feeMaxMicroPerKwh most that a batch may keep as fees, per kWh traded
    /// @param feeAccount account that the fees go to
    /// @param exitDelayS seconds from a member's own withdrawal request to the withdrawal; long enough
    /// for its trades to settle, at most 7 days
    /// @param settleWithinS seconds after a delivery in which its orders can be settled
    struct Terms {
        string market;
        uint64 intervalS;
        uint64 genesis;
        address currency;
        int64 priceMin;
        int64 priceMax;
        int64 shortfallPriceMax;
        int64 underUsePriceMin;
        uint48 meteredMaxWh;
        uint48 feeMaxMicroPerKwh;
        address feeAccount;
        uint32 exitDelayS;
        uint32 settleWithinS;
    }

    /// @notice A withdrawal that its owner signed and anyone may bring
    /// @param account whose money leaves
    /// @param to who gets it
    /// @param moneyMicro what `to` gets
    /// @param relayFeeMicro what the bringer gets on top
    /// @param nonce `withdrawalOf(account).nonce`
    /// @param deadline last second in which it counts
    struct Withdrawal {
        address account;
        address to;
        uint256 moneyMicro;
        uint256 relayFeeMicro;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice Lets another key sign an account's orders, within limits; final but for its revocation
    /// @param account whose orders
    /// @param delegate the key's address
    /// @param validFrom first delivery start that it covers
    /// @param validUntil first delivery start that it covers no more
    /// @param energyPerIntervalMaxWh most that the key's orders trade in one interval
    /// @param buyLimitMax highest limit of a purchase, 1e-6 currency per kWh
    /// @param sellLimitMin lowest limit of a sale, 1e-6 currency per kWh
    struct Mandate {
        address account;
        address delegate;
        uint40 validFrom;
        uint40 validUntil;
        uint48 energyPerIntervalMaxWh;
        int64 buyLimitMax;
        int64 sellLimitMin;
    }

    /// @notice One account's part in the correction of a settled interval
    /// @param account rising from row to row
    /// @param energyWh what its energy column gains
    /// @param moneyMicro what its money column gains
    /// @param mintedWh the part of what the column gains that is production found later
    /// @param burnedWh the part of what the column loses that is consumption found later
    /// @param r of the account's signature; zero where neither column loses
    /// @param vs of the account's signature (EIP-2098)
    struct CorrectionRow {
        address account;
        int64 energyWh;
        int64 moneyMicro;
        uint48 mintedWh;
        uint48 burnedWh;
        bytes32 r;
        bytes32 vs;
    }

    /* EVENTS */

    /// @notice Money came in; `moneyMicro` is what arrived
    event Deposited(address indexed account, address indexed from, uint256 moneyMicro);

    /// @notice A member wants money out on its own; from `availableAt` on it can take it
    /// @param moneyMicro in all; 0 when it changed its mind
    event WithdrawalRequested(address indexed account, uint256 moneyMicro, uint256 availableAt);

    /// @notice Money left the account
    event Withdrawn(address indexed account, address indexed to, uint256 moneyMicro);

    /// @notice Fees went from the ledger's pot to the fee account
    event FeesCollected(address indexed feeAccount, uint256 moneyMicro);

    /// @notice One delivery interval's trades were settled
    /// @param batchHash keccak256 of the rows in the transaction's calldata
    /// @param readingsRoot Merkle root of the readings behind it
    /// @param receiptsRoot Merkle root of the members' receipts
    /// @param totals from the high bits: what the buyers paid (int64, 1e-6 currency), and in Wh energy
    /// that changed hands 48, minted 48, burned 48, then what was kept as fees 48 (1e-6 currency)
    event BatchSettled(
        uint64 indexed deliveryStart,
        bytes32 indexed batchHash,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        uint256 totals
    );

    /// @notice A settled interval was corrected
    /// @param correctionHash keccak256 of the correction's ABI-encoded rows
    event IntervalCorrected(
        uint64 indexed deliveryStart,
        uint256 indexed revision,
        bytes32 correctionHash,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        uint256 mintedWh,
        uint256 burnedWh
    );

    /// @notice An account will take no settlement for an interval
    event IntervalCancelled(address indexed account, uint64 indexed deliveryStart);

    /// @notice Another key may sign an account's orders
    event MandateSet(
        address indexed account,
        address indexed delegate,
        uint256 validFrom,
        uint256 validUntil,
        uint256 energyPerIntervalMaxWh,
        int256 buyLimitMax,
        int256 sellLimitMin
    );

    /// @notice A mandate covers no delivery that starts at `validUntil` or later
    event MandateRevoked(address indexed account, address indexed delegate, uint256 validUntil);

    /// @notice What an account may not do changed, see `AccountWord`
    event AccountFlagsSet(address indexed account, uint256 flags);

    /// @notice Trading was stopped or resumed
    event PausedSet(bool paused);

    /// @notice Who settles was named
    event SettlerSet(address indexed settler);

    /// @notice Who judges compliance was named, and whether batches are told to it
    event ComplianceSet(address indexed compliance, bool batchRules);

    /// @notice The energy token was named, once and for all
    event EnergyTokenSet(address indexed energyToken);

    /* ERRORS */

    error AmountZero();
    error RecipientInvalid(address recipient);
    error TradingPaused();
    error ConfigurationInvalid(string field);
    error EnergyTokenInvalid(address energyToken);
    error EnergyTokenOnly(address caller);
    error ComplianceInvalid(address compliance);
    error ComplianceOnly(address caller);
    error SettlerOnly(address caller);

    error DeliveryMisaligned(uint256 deliveryStart);
    error DeliveryOutOfRange(uint256 deliveryStart);
    error DeliveryNotOver(uint256 deliveryStart, uint256 overAt);
    error DeliveryTooLongAgo(uint256 deliveryStart, uint256 settledUntil);
    error DeliveryBegun(uint256 deliveryStart);
    error DeliveryTooFarAhead(uint256 deliveryStart, uint256 latestStart);

    error AccountIntervalPassed(address account, uint256 latestInterval);
    error AccountIntervalUsed(address account);
    error AccountMoneyInsufficient(address account, uint256 moneyMicro, uint256 neededMicro);
    error AccountEnergyInsufficient(address account, uint256 energyWh, uint256 neededWh);
    error AccountOverflow(address account);
    error AccountMeteredTooMuch(address account, uint256 meteredWh, uint256 meteredMaxWh);
    error AccountBlocked(address account, uint256 flags);

    error WithdrawalNotRequested(address account, uint256 requestedMicro, uint256 neededMicro);
    error WithdrawalTooEarly(address account, uint256 availableAt);
    error WithdrawalLapsed(address account, uint256 lapsedAt);
    error WithdrawalExpired(address account, uint256 deadline);
    error WithdrawalNonceInvalid(address account, uint256 nonce, uint256 expected);
    error SignatureInvalid(address account);

    error MandateInvalid(address account, address delegate);
    error MandateExists(address account, address delegate);
    error MandateUnknown(address account, address delegate);
    error MandateNotCovering(address account, address delegate, bytes32 digest);

    error BatchLengthInvalid(uint256 length);
    error BatchUnbalanced(int256 energyWh, int256 moneyMicro);
    error BatchFeesTooHigh(uint256 feesMicro, uint256 tradedWh);

    error RowAccountNotAscending(address account);
    error RowOrderNotAscending(address account, bytes32 digest);
    error RowSignatureInvalid(address account, bytes32 digest);
    error RowSideInvalid(bytes32 digest, uint256 side);
    error RowExecutedInvalid(bytes32 digest, uint256 tradedWh, uint256 signedWh);
    error RowTradesInvalid(bytes32 digest, uint256 trades, uint256 tradedWh);
    error RowMeteredInvalid(bytes32 digest, uint256 meteredWh, uint256 executedWh);
    error RowLimitBroken(bytes32 digest, int256 valueMicro);

    error CorrectionRevisionUsed(address account, uint256 revision);
    error CorrectionMeteredInvalid(address account, uint256 mintedWh, uint256 burnedWh);
    error CorrectionUnbalanced(int256 energyWh, int256 moneyMicro);

    /* MONEY */

    /// @notice Deposit into the caller's account
    /// @param moneyMicro currency units to pull (1e-6)
    /// @return creditedMicro what arrived and was credited (less with a fee-on-transfer token)
    function deposit(uint256 moneyMicro) external returns (uint256 creditedMicro);

    /// @notice Deposit the caller's money into another account
    function depositFor(address account, uint256 moneyMicro)
        external
        returns (uint256 creditedMicro);

    /// @notice Deposit into the caller's account with a permit (ERC-2612) instead of an approval
    /// @dev A permit that somebody else used first does no harm: the allowance is there then.
    function depositWithPermit(uint256 moneyMicro, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (uint256 creditedMicro);

    /// @notice Deposit what `from` authorised (ERC-3009, `receiveWithAuthorization` to this ledger)
    /// into its own account; anyone may bring it, so that a member needs no gas
    function depositWithAuthorization(
        address from,
        uint256 moneyMicro,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (uint256 creditedMicro);

    /// @notice Ask for the caller's money without the settler; replaces an earlier request, 0 ends it
    /// @dev Until the exit delay is over the money still pays for what the account bought. From then on
    /// it can be taken for a day; then the request lapses, so that nobody has a standing one.
    function requestWithdrawal(uint256 moneyMicro) external;

    /// @notice Ask as `requestWithdrawal` does, with the owner's signed withdrawal; anyone may bring it
    /// @dev The signature stays good for the `relayWithdrawal` after the delay.
    function requestWithdrawalFor(Withdrawal calldata withdrawal, bytes32 r, bytes32 vs) external;

    /// @notice Take the caller's requested money out after the delay; works while trading is paused
    function withdraw(uint256 moneyMicro, address to) external;

    /// @notice Take money out as its owner signed; works while trading is paused
    /// @dev Brought by the settler, who knows what the account still owes, at once; by anyone else after
    /// a request and its delay.
    function relayWithdrawal(Withdrawal calldata withdrawal, bytes32 r, bytes32 vs) external;

    /// @notice Book the collected fees to the fee account; anyone may
    function collectFees() external;

    /* MANDATES */

    /// @notice Let another key sign the caller's orders within limits
    /// @param mandate its account must be the caller
    function setMandate(Mandate calldata mandate) external;

    /// @notice Set a mandate that its account signed; anyone may bring it
    function setMandateFor(Mandate calldata mandate, bytes32 r, bytes32 vs) external;

    /// @notice End a mandate for all deliveries that have not begun; final
    function revokeMandate(address delegate) external;

    /* SETTLEMENT */

    /// @notice Settle the orders of one delivery interval, all or nothing
    /// @dev Settler only. A row has 159 bytes: account 20, side 1 (0 buy, 1 sell), limit int64 8
    /// (micro/kWh), signed Wh 6, executed Wh 6, short Wh 6 (traded but not executed), metered Wh 6,
    /// value int64 8 (micro; what a buyer pays and a seller gets in all, with fees and compensation),
    /// trades 2, terms hash 32, r 32, vs 32 (EIP-2098). Rows are grouped by account, accounts strictly
    /// ascending, an account's order digests strictly ascending.
    ///
    /// Holds or reverts: the delivery is over, and not for too long; each account, or a key with its
    /// mandate, signed each order, and the account had not used the interval; 0 < executed + short <=
    /// signed; the value keeps to the signed limit and the market's price band for what was executed,
    /// and to the market's bounds of compensation for what was short, up to the rounding of the trades
    /// (each trade's value is rounded down to 1e-6); a seller produced at least what it sold (the rest
    /// stays in its column), a buyer burns at most what it bought; energy sold equals energy bought;
    /// payments made equal payments received plus fees, and the fees keep to their maximum.
    function settleBatch(
        uint64 deliveryStart,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        bytes calldata rows
    ) external;

    /// @notice Correct an interval after late, corrected or replaced readings
    /// @dev Settler only. Orders are not used again: whose column loses has signed the loss as a
    /// `Correction` (EIP-712) together with the new receipts' root, others only gain. Each account takes
    /// a revision once, and a higher one each time. Energy nets to minted - burned, money to zero; only
    /// in an interval that the account used is anything minted or burned, and flags count.
    function correctInterval(
        uint64 deliveryStart,
        uint8 revision,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        CorrectionRow[] calldata rows
    ) external;

    /// @notice Use up the caller's interval, so that none of its orders in it can be settled
    /// @dev Only before the delivery begins (whom it trades with must be able to rely on it from then
    /// on), and at most 48 intervals ahead (so that unsettled intervals stay in the account's window).
    function cancelInterval(uint64 deliveryStart) external;

    /// @notice Cancel several intervals at once; those already used are passed over
    /// @param firstStart delivery start of the first interval
    /// @param intervals bit i cancels the i-th interval from `firstStart` on
    function cancelIntervals(uint64 firstStart, uint96 intervals) external;

    /// @notice Stop or resume settlement and deposits; never withdrawals
    /// @dev Guardian only.
    function setPaused(bool stop) external;

    /// @notice Name who settles
    /// @dev Admin only.
    function setSettler(address newSettler) external;

    /// @notice Name who judges compliance, and whether each batch is told to it
    /// @dev Admin only. Zero for nobody; then no account has flags that change any more.
    function setCompliance(address newCompliance, bool newBatchRules) external;

    /// @notice Say what an account may not do; never its withdrawals
    /// @dev The compliance contract only.
    function setAccountFlags(address account, uint8 flags) external;

    /* ENERGY: for the energy token */

    /// @notice Name the energy token, once
    /// @dev Admin only.
    function setEnergyToken(address token) external;

    /// @notice Move energy between accounts
    function moveEnergy(address from, address to, uint256 energyWh) external;

    /// @notice Add energy to an account
    function mintEnergy(address account, uint256 energyWh) external;

    /// @notice Take energy from an account
    function burnEnergy(address account, uint256 energyWh) external;

    /// @notice Use up an account's interval, so that no settlement can mint for it again
    function useInterval(address account, uint64 deliveryStart) external;

    /* VIEWS */

    /// @notice An account's word, unpacked
    /// @return energyWh energy in Wh
    /// @return moneyMicro money in 1e-6 currency
    /// @return latestInterval the latest used interval, counted from `genesis`
    /// @return usedIntervals bit i is set when interval `latestInterval - i` is used
    /// @return flags what it may not do, see `AccountWord`
    function accountOf(address account)
        external
        view
        returns (
            uint256 energyWh,
            uint256 moneyMicro,
            uint256 latestInterval,
            uint256 usedIntervals,
            uint256 flags
        );

    /// @notice What an account asked to withdraw
    /// @return requestedMicro in all
    /// @return availableAt from when on it can take it
    /// @return nonce of its next signed withdrawal
    function withdrawalOf(address account)
        external
        view
        returns (uint256 requestedMicro, uint256 availableAt, uint256 nonce);

    /// @notice A mandate; its `validUntil` is zero when there is none
    function mandateOf(address account, address delegate) external view returns (Mandate memory);

    /// @notice The latest correction of an account's interval, 0 for none
    function revisionOf(address account, uint64 deliveryStart) external view returns (uint256);

    /// @notice The digest that an account signs for an order
    /// @param termsHash EIP-712 hashStruct of the order's `Terms`
    function orderDigest(
        address account,
        uint64 deliveryStart,
        uint8 side,
        uint64 energyWh,
        int64 limitPriceMicroPerKwh,
        bytes32 termsHash
    ) external view returns (bytes32);

    /// @notice EIP-712 domain separator, for this chain and this ledger
    function domainSeparator() external view returns (bytes32);

    /// @notice All accounts' energy in Wh
    function energyWhTotal() external view returns (uint256);

    /// @notice Fees in the pot, 1e-6 currency
    function feesMicro() external view returns (uint256);

    /// @notice The ERC-20 face of the energy column
    function energyToken() external view returns (address);

    /// @notice Who settles
    function settler() external view returns (address);

    /// @notice Who judges compliance; zero for nobody
    function compliance() external view returns (address);

    /// @notice True when each batch is told to the compliance contract
    function batchRules() external view returns (bool);

    /// @notice True while settlement and deposits are stopped
    function paused() external view returns (bool);

    /// @notice What the ledger was made with
    function terms() external view returns (Terms memory);

    /// @notice The settlement currency
    function currency() external view returns (address);

    /// @notice keccak256 of the market's id
    function marketHash() external view returns (bytes32);

    /// @notice Seconds of a delivery interval
    function intervalS() external view returns (uint256);

    /// @notice UTC second in which interval 0 begins
    function genesis() external view returns (uint256);
}
