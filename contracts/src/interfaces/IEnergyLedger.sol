// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IEnergyLedger: one community's energy and money, and the only place where they change
/// @notice Every account is one storage word: energy (Wh), money (1e-6 currency) and which
/// delivery intervals of the current epoch (96 intervals) are used. See `INVARIANTS.md`.
interface IEnergyLedger {
    /* EVENTS */

    /// @notice Money came in; `moneyMicro` is what arrived
    event Deposited(address indexed account, address indexed from, uint256 moneyMicro);

    /// @notice Money left
    event Withdrawn(address indexed account, address indexed to, uint256 moneyMicro);

    /// @notice One delivery interval's trades were settled
    /// @param batchHash keccak256 of the rows in the transaction's calldata
    /// @param readingsRoot Merkle root of the readings behind it
    /// @param receiptsRoot Merkle root of the members' receipts
    /// @param tradedWh energy that changed hands
    /// @param valueMicro what the buyers paid in all; at negative prices, what they received
    /// @param mintedWh the sellers' metered production
    /// @param burnedWh the buyers' metered consumption
    event BatchSettled(
        uint64 indexed deliveryStart,
        bytes32 indexed batchHash,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        uint256 tradedWh,
        uint256 valueMicro,
        uint256 mintedWh,
        uint256 burnedWh
    );

    /// @notice An account will take no settlement for an interval
    event IntervalCancelled(address indexed account, uint64 indexed deliveryStart);

    /// @notice Trading was stopped or resumed
    event PausedSet(bool paused);

    /// @notice The energy token was named, once and for all
    event EnergyTokenSet(address indexed energyToken);

    /* ERRORS */

    error AmountZero();
    error RecipientInvalid(address recipient);
    error TradingPaused();
    error ConfigurationInvalid(string field);
    error EnergyTokenInvalid(address energyToken);
    error EnergyTokenOnly(address caller);

    error DeliveryMisaligned(uint256 deliveryStart);
    error DeliveryOutOfRange(uint256 deliveryStart);
    error DeliveryNotOver(uint256 deliveryStart, uint256 overAt);

    error AccountEpochPassed(address account, uint256 accountEpoch);
    error AccountIntervalUsed(address account);
    error AccountMoneyInsufficient(address account, uint256 moneyMicro, uint256 neededMicro);
    error AccountEnergyInsufficient(address account, uint256 energyWh, uint256 neededWh);
    error AccountOverflow(address account);
    error AccountMeteredTooMuch(address account, uint256 meteredWh, uint256 meteredMaxWh);

    error BatchLengthInvalid(uint256 length);
    error BatchUnbalanced(int256 energyWh, int256 moneyMicro);

    error RowAccountNotAscending(address account);
    error RowOrderNotAscending(address account, bytes32 digest);
    error RowSignatureInvalid(address account, bytes32 digest);
    error RowSideInvalid(bytes32 digest, uint256 side);
    error RowExecutedInvalid(bytes32 digest, uint256 executedWh, uint256 signedWh);
    error RowTradesInvalid(bytes32 digest, uint256 trades, uint256 executedWh);
    error RowMeteredInvalid(bytes32 digest, uint256 meteredWh, uint256 executedWh);
    error RowLimitBroken(bytes32 digest, int256 valueMicro);
    error RowOutsidePriceBand(bytes32 digest, int256 valueMicro);

    /* MONEY */

    /// @notice Deposit into the caller's account
    /// @param moneyMicro currency units to pull (1e-6)
    /// @return creditedMicro what arrived and was credited (less with a fee-on-transfer token)
    function deposit(uint256 moneyMicro) external returns (uint256 creditedMicro);

    /// @notice Deposit the caller's money into another account
    function depositFor(address account, uint256 moneyMicro)
        external
        returns (uint256 creditedMicro);

    /// @notice Take the caller's money out; works while trading is paused
    function withdraw(uint256 moneyMicro, address to) external;

    /* SETTLEMENT */

    /// @notice Settle the orders of one delivery interval, all or nothing
    /// @dev Operator only. A row has 153 bytes: account 20, side 1 (0 buy, 1 sell), limit int64 8
    /// (micro/kWh), signed Wh 6, executed Wh 6, metered Wh 6, value int64 8 (micro), trades 2,
    /// terms hash 32, r 32, vs 32 (EIP-2098). Rows are grouped by account, accounts strictly
    /// ascending, an account's order digests strictly ascending.
    ///
    /// Holds or reverts: the delivery is over; each account signed each order and had not used the
    /// interval; 0 < executed <= signed; the value keeps to the signed limit and the market's price
    /// band up to the rounding of its trades (each trade's value is rounded down to 1e-6); a seller
    /// produced at least what it sold (the rest stays in its column), a buyer burns at most what it
    /// bought; energy sold equals energy bought, and payments made equal payments received.
    function settleBatch(
        uint64 deliveryStart,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        bytes calldata rows
    ) external;

    /// @notice Use up the caller's interval, so that none of its orders in it can be settled
    function cancelInterval(uint64 deliveryStart) external;

    /// @notice Stop or resume settlement and deposits; never withdrawals
    /// @dev Guardian only.
    function setPaused(bool stop) external;

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
    /// @return epoch number of the account's latest epoch of 96 intervals since `genesis`
    /// @return usedIntervals bit i is set when interval i of that epoch is used
    function accountOf(address account)
        external
        view
        returns (uint256 energyWh, uint256 moneyMicro, uint256 epoch, uint256 usedIntervals);

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

    /// @notice The settlement currency (6 decimals)
    function currency() external view returns (address);

    /// @notice The ERC-20 face of the energy column
    function energyToken() external view returns (address);

    /// @notice True while settlement and deposits are stopped
    function paused() external view returns (bool);

    /// @notice The market's id, as orders name it
    function market() external view returns (string memory);

    /// @notice keccak256 of the market's id
    function marketHash() external view returns (bytes32);

    /// @notice Seconds of a delivery interval
    function intervalS() external view returns (uint256);

    /// @notice UTC second in which interval 0 of epoch 0 begins
    function genesis() external view returns (uint256);

    /// @notice Lowest price of a trade, 1e-6 currency per kWh
    function priceMin() external view returns (int256);

    /// @notice Highest price of a trade, 1e-6 currency per kWh
    function priceMax() external view returns (int256);

    /// @notice Most energy in Wh that a batch may mint for one account
    function meteredMaxWh() external view returns (uint256);
}
